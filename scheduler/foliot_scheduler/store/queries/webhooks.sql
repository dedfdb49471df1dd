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

-- list_deliveries: a page of a subscription's deliveries, newest first; each branch reads no further than the page
SELECT * FROM (
    ({pending} WHERE webhook_id = $1 AND ($2 = '' OR $2 = 'pending') ORDER BY id DESC LIMIT $3::bigint + $4::bigint)
    UNION ALL
    ({ended} WHERE webhook_id = $1 AND ($2 = '' OR state = $2) ORDER BY id DESC LIMIT $3::bigint + $4::bigint)
) AS delivery
ORDER BY id DESC
LIMIT $3::bigint OFFSET $4::bigint

-- count_deliveries: how many deliveries of a subscription there are
SELECT
    (SELECT count(*) FROM webhook_delivery WHERE webhook_id = $1 AND ($2 = '' OR $2 = 'pending'))
    + (SELECT count(*) FROM webhook_delivery_history WHERE webhook_id = $1 AND ($2 = '' OR state = $2))

-- hurry: has a delivery on its way sent at once, by whichever clock is behind, with its pauses counted anew
UPDATE webhook_delivery SET next_attempt_at = least($3, clock_timestamp()), step = 0, by_hand = true WHERE id = $1 AND webhook_id = $2 RETURNING 1

-- requeue: has a delivery that ended sent again
WITH gone AS (DELETE FROM webhook_delivery_history WHERE id = $1 AND webhook_id = $2 RETURNING *)
INSERT INTO webhook_delivery (
    id, webhook_id, created_at, next_attempt_at, generation, attempts, status_code, by_hand, event, error, facts, result
)
SELECT id, webhook_id, created_at, least($3, clock_timestamp()), generation, attempts, status_code, true, event, error, facts, result FROM gone
RETURNING 1
