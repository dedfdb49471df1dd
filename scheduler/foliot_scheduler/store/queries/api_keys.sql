-- insert: a new key, unless its project has as many that still work as it may ($10)
INSERT INTO api_key (id, created_at, expires_at, requests_per_minute, digest, project, role, name, hint)
SELECT $1::uuid, $2::timestamptz, $3::timestamptz, $4::integer, $5::bytea, $6::text, $7::text, $8::text, $9::text
WHERE (
    SELECT count(*) FROM api_key
    WHERE project = $6 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
) < $10::bigint

-- find: the key that a secret belongs to, by its hash
SELECT id, name, project, role, hint, created_at, expires_at, revoked_at, requests_per_minute FROM api_key WHERE digest = $1

-- list: a page of a project's keys, newest first; of all projects' if none is named
SELECT id, name, project, role, hint, created_at, expires_at, revoked_at, requests_per_minute
FROM api_key
WHERE ($1::text IS NULL OR project = $1) AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3

-- revoke: end a key of a project, or of any if none is named; one that was revoked before keeps its time
UPDATE api_key SET revoked_at = coalesce(revoked_at, $3)
WHERE id = $1 AND ($2::text IS NULL OR project = $2)
RETURNING id, name, project, role, hint, created_at, expires_at, revoked_at, requests_per_minute
