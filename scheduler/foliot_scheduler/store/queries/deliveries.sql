-- is_any: whether there is a subscription, or something left of one
SELECT EXISTS (SELECT FROM webhook) OR EXISTS (SELECT FROM webhook_remains)

-- waiting: the subscriptions that have something due, with how their receivers do
SELECT webhook.id, webhook.project, webhook.url, health.failing_since
FROM webhook
LEFT JOIN webhook_health AS health ON health.webhook_id = webhook.id AND health.generation = webhook.generation
CROSS JOIN LATERAL (
    SELECT FROM webhook_delivery AS delivery
    WHERE delivery.webhook_id = webhook.id
      AND delivery.next_attempt_at <= $1
      AND (
          delivery.by_hand
          OR (webhook.enabled AND delivery.generation = webhook.generation AND coalesce(health.verdict, '') = '')
      )
    LIMIT 1
) AS due

-- claim: takes due deliveries, so many of each subscription, for as long as sending may take
-- FOR UPDATE compares the row's newest version, and SKIP LOCKED leaves those that another replica is taking.
WITH picked AS (
    SELECT due.id
    FROM unnest($1::uuid[], $2::integer[]) AS share (webhook_id, count)
    JOIN webhook ON webhook.id = share.webhook_id
    CROSS JOIN LATERAL (
        SELECT delivery.id
        FROM webhook_delivery AS delivery
        WHERE delivery.webhook_id = webhook.id
          AND delivery.next_attempt_at <= $3
          AND (delivery.by_hand OR (webhook.enabled AND delivery.generation = webhook.generation))
        ORDER BY delivery.next_attempt_at
        LIMIT share.count
        FOR UPDATE SKIP LOCKED
    ) AS due
)
UPDATE webhook_delivery AS delivery
SET attempts = delivery.attempts + 1, step = delivery.step + 1, next_attempt_at = $4
FROM picked, webhook
WHERE delivery.id = picked.id AND webhook.id = delivery.webhook_id
RETURNING delivery.id, delivery.webhook_id, delivery.attempts, delivery.step, delivery.event, delivery.created_at, delivery.facts,
          delivery.result, webhook.url, webhook.secret, webhook.project, webhook.generation

-- end: what was taken or given up leaves the outbox; one that was claimed again since is left to whoever did
WITH gone AS (
    DELETE FROM webhook_delivery AS delivery
    USING unnest($1::uuid[], $2::integer[], $3::text[], $4::integer[], $5::text[])
        AS new (id, attempts, state, status_code, error)
    WHERE delivery.id = new.id AND delivery.attempts = new.attempts
    RETURNING delivery.id, delivery.webhook_id, delivery.created_at, delivery.generation, delivery.attempts, new.status_code,
              new.state, delivery.event, new.error, delivery.facts, delivery.result
)
INSERT INTO webhook_delivery_history (
    id, webhook_id, created_at, ended_at, generation, attempts, status_code, state, event, error, facts, result
)
SELECT id, webhook_id, created_at, $6, generation, attempts, status_code, state, event, error, facts, result FROM gone

-- postpone: what failed and is tried again
UPDATE webhook_delivery AS delivery
SET next_attempt_at = new.next_attempt_at, status_code = new.status_code, error = new.error
FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::integer[], $5::text[])
    AS new (id, attempts, next_attempt_at, status_code, error)
WHERE delivery.id = new.id AND delivery.attempts = new.attempts

-- note_success: receivers that took something do well
-- Only where they did not: most tries succeed, and need no row to say so.
UPDATE webhook_health SET failing_since = NULL WHERE webhook_id = ANY ($1::uuid[]) AND failing_since IS NOT NULL

-- note_failure: receivers that failed, and verdicts on them; what is known of an earlier generation is forgotten
INSERT INTO webhook_health AS health (webhook_id, failing_since, generation, verdict)
SELECT webhook.id, $1, new.generation, new.verdict
FROM unnest($2::uuid[], $3::integer[], $4::text[]) AS new (webhook_id, generation, verdict)
JOIN webhook ON webhook.id = new.webhook_id
ON CONFLICT (webhook_id) DO UPDATE SET
    failing_since = CASE
        WHEN health.generation = excluded.generation THEN coalesce(health.failing_since, excluded.failing_since)
        ELSE excluded.failing_since
    END,
    generation = excluded.generation,
    verdict = CASE
        WHEN health.generation = excluded.generation AND health.verdict <> '' THEN health.verdict
        ELSE excluded.verdict
    END
WHERE health.generation < excluded.generation
   OR health.generation = excluded.generation AND (health.failing_since IS NULL OR excluded.verdict <> '')

-- verdicts: subscriptions that are to be disabled
SELECT webhook.id, webhook.generation, health.verdict
FROM webhook_health AS health
JOIN webhook ON webhook.id = health.webhook_id AND webhook.generation = health.generation
WHERE webhook.enabled AND health.verdict <> ''

-- withdraw: gives up, some at a time, what is on its way to subscriptions that were disabled
-- A subscription whose oldest delivery is of the present time has none of an earlier one: ids grow with time. So what waits for one
-- that is behind is not read over and over.
WITH old AS (
    SELECT delivery.id
    FROM webhook
    CROSS JOIN LATERAL (
        SELECT oldest.generation
        FROM webhook_delivery AS oldest
        WHERE oldest.webhook_id = webhook.id AND NOT oldest.by_hand
        ORDER BY oldest.id
        LIMIT 1
    ) AS oldest
    CROSS JOIN LATERAL (
        SELECT delivery.id
        FROM webhook_delivery AS delivery
        WHERE delivery.webhook_id = webhook.id
          AND NOT delivery.by_hand
          AND (NOT webhook.enabled OR delivery.generation < webhook.generation)
        ORDER BY delivery.id
        LIMIT $1
        FOR UPDATE SKIP LOCKED
    ) AS delivery
    WHERE NOT webhook.enabled OR oldest.generation < webhook.generation
    LIMIT $1
),
gone AS (DELETE FROM webhook_delivery USING old WHERE webhook_delivery.id = old.id RETURNING webhook_delivery.*)
INSERT INTO webhook_delivery_history (
    id, webhook_id, created_at, ended_at, generation, attempts, status_code, state, event, error, facts, result
)
SELECT id, webhook_id, created_at, $2, generation, attempts, status_code, 'failed', event, $3, facts, result FROM gone
RETURNING 1

-- overflow: finds subscriptions whose receivers are hopelessly behind, and has them disabled
INSERT INTO webhook_health AS health (webhook_id, failing_since, generation, verdict)
SELECT webhook.id, NULL, webhook.generation, $2
FROM webhook
WHERE webhook.enabled
  AND EXISTS (
      SELECT FROM webhook_delivery AS delivery
      -- What is left of an earlier time is being withdrawn.
      WHERE delivery.webhook_id = webhook.id AND delivery.generation = webhook.generation
      OFFSET $1
  )
ON CONFLICT (webhook_id) DO UPDATE SET generation = excluded.generation, verdict = excluded.verdict

-- clear_pending: forgets, some at a time, what is on its way to subscriptions that ended
DELETE FROM webhook_delivery
WHERE id = ANY (ARRAY(
    SELECT delivery.id FROM webhook_remains JOIN webhook_delivery AS delivery USING (webhook_id) LIMIT $1 FOR UPDATE OF delivery SKIP LOCKED
))
RETURNING 1

-- clear_ended: forgets, some at a time, what was sent to subscriptions that ended
DELETE FROM webhook_delivery_history
WHERE id = ANY (ARRAY(
    SELECT delivery.id FROM webhook_remains JOIN webhook_delivery_history AS delivery USING (webhook_id) LIMIT $1
))
RETURNING 1

-- clear_remains: forgets subscriptions that ended and have left nothing
WITH gone AS (
    DELETE FROM webhook_remains AS remains
    WHERE NOT EXISTS (SELECT FROM webhook_delivery WHERE webhook_id = remains.webhook_id)
      AND NOT EXISTS (SELECT FROM webhook_delivery_history WHERE webhook_id = remains.webhook_id)
    RETURNING webhook_id
)
DELETE FROM webhook_health USING gone WHERE webhook_health.webhook_id = gone.webhook_id
