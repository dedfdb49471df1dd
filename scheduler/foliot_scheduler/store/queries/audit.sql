-- insert: one record of a change that is not the leader's
INSERT INTO audit_record (id, at, touched, project, actor, role, method, request_id, ids)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- list: a page of a project's records, newest first
SELECT id, at, actor, role, project, method, request_id, touched, ids
FROM audit_record
WHERE project = $1 AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3

-- list_all: a page of every project's records, newest first
-- The projects are found one after the other in the index, and of each no more than a page is read.
WITH RECURSIVE owner AS (
    (SELECT record.project FROM audit_record AS record ORDER BY record.project LIMIT 1)
    UNION ALL
    SELECT following.project
    FROM owner
    CROSS JOIN LATERAL (
        SELECT record.project FROM audit_record AS record WHERE record.project > owner.project ORDER BY record.project LIMIT 1
    ) AS following
)
SELECT found.*
FROM owner
CROSS JOIN LATERAL (
    SELECT id, at, actor, role, project, method, request_id, touched, ids
    FROM audit_record AS record
    WHERE record.project = owner.project AND ($1::uuid IS NULL OR record.id < $1)
    ORDER BY record.id DESC
    LIMIT $2
) AS found
ORDER BY found.id DESC
LIMIT $2
