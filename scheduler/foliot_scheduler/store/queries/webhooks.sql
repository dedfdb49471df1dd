-- get: one subscription of a project
SELECT id, project, url, description, events, enabled, disabled_reason, created_at, updated_at
FROM webhook
WHERE id = $1 AND project = $2

-- get_secret: the key of one subscription of a project
SELECT secret FROM webhook WHERE id = $1 AND project = $2

-- list: a page of a project's subscriptions, newest first
SELECT id, project, url, description, events, enabled, disabled_reason, created_at, updated_at
FROM webhook
WHERE project = $1
ORDER BY id DESC
LIMIT $2::bigint OFFSET $3::bigint

-- count: how many a project has
SELECT count(*) FROM webhook WHERE project = $1

-- pending_columns: the columns of a delivery on its way
SELECT id, webhook_id, event, 'pending' AS state, attempts, status_code, error, created_at, next_attempt_at,
       NULL::timestamptz AS ended_at, facts, result
FROM webhook_delivery

-- ended_columns: the same of one that was taken or given up
SELECT id, webhook_id, event, state, attempts, status_code, error, created_at, NULL::timestamptz AS next_attempt_at, ended_at,
       facts, result
FROM webhook_delivery_history

-- get_delivery: one delivery of a subscription; a commit of ours may move it between the two tables, so both are read at once
SELECT * FROM ({pending} WHERE id = $1 AND webhook_id = $2 UNION ALL {ended} WHERE id = $1 AND webhook_id = $2) AS delivery

-- list_deliveries: a page of a subscription's deliveries, newest first
-- Each branch is an index in the list's order, and reads no further than the page; of what the offset skips only the ids are read.
WITH page AS (
    SELECT id FROM (
{branches}
    ) AS delivery
    ORDER BY id DESC
    LIMIT $2::bigint OFFSET $3::bigint
)
SELECT * FROM (
    {pending} JOIN page USING (id)
    UNION ALL
    {ended} JOIN page USING (id)
) AS delivery
ORDER BY id DESC

-- pending_branch: deliveries on their way, for a list
(SELECT id FROM webhook_delivery WHERE webhook_id = $1 ORDER BY id DESC LIMIT $2::bigint + $3::bigint)

-- ended_branch: deliveries that were taken or given up, for a list
(SELECT id FROM webhook_delivery_history WHERE webhook_id = $1 AND state = '{state}' ORDER BY id DESC LIMIT $2::bigint + $3::bigint)

-- count_deliveries: how many deliveries of a subscription there are, counted no further than to $2 of each kind
SELECT sum(counted.deliveries)::bigint FROM (
{branches}
) AS counted

-- pending_count: deliveries on their way
SELECT count(*) AS deliveries FROM (SELECT FROM webhook_delivery WHERE webhook_id = $1 LIMIT $2::bigint) AS found

-- ended_count: deliveries that were taken or given up
SELECT count(*) AS deliveries
FROM (SELECT FROM webhook_delivery_history WHERE webhook_id = $1 AND state = '{state}' LIMIT $2::bigint) AS found

-- hurry: has a delivery on its way sent at once, by whichever clock is behind, with its pauses counted anew
UPDATE webhook_delivery SET next_attempt_at = least($3, clock_timestamp()), step = 0, by_hand = true WHERE id = $1 AND webhook_id = $2 RETURNING 1

-- requeue: has a delivery that ended sent again
WITH gone AS (DELETE FROM webhook_delivery_history WHERE id = $1 AND webhook_id = $2 RETURNING *)
INSERT INTO webhook_delivery (
    id, webhook_id, created_at, next_attempt_at, generation, attempts, status_code, by_hand, event, error, facts, result
)
SELECT id, webhook_id, created_at, least($3, clock_timestamp()), generation, attempts, status_code, true, event, error, facts, result FROM gone
RETURNING 1
