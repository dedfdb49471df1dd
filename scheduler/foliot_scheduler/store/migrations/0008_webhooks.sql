-- expand, compatible_from: 1
--
-- Webhooks: subscriptions, and the outbox of what goes to them.
--
-- The leader alone writes `webhook` and adds to `webhook_delivery`, in its fenced commits. What comes of deliveries is written by
-- whichever replica sends them, unfenced, as logs are: it decides nothing about work, and each write quotes the attempt it is about.

-- Subscriptions.
CREATE TABLE webhook (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- Counts how often it was enabled: a delivery of an earlier time is not sent any more.
    generation integer NOT NULL,
    shard smallint NOT NULL DEFAULT 0,
    enabled boolean NOT NULL,
    project text NOT NULL,
    url text NOT NULL,
    description text NOT NULL,
    disabled_reason text NOT NULL,
    -- The key that signs deliveries.
    secret bytea NOT NULL,
    -- Names of events; none stands for all.
    events text[] NOT NULL
);
-- Lists of a project.
CREATE INDEX webhook_by_project ON webhook (project, id);

-- How receivers do, as those who send to them found. A row counts for the generation it names.
CREATE TABLE webhook_health (
    webhook_id uuid PRIMARY KEY,
    -- Since when every try has failed; null after one that did not.
    failing_since timestamptz,
    generation integer NOT NULL,
    -- Why it is to be disabled, which the leader then does; empty: it is not.
    verdict text NOT NULL
) WITH (fillfactor = 70);

-- Subscriptions that ended and whose deliveries are still there.
CREATE TABLE webhook_remains (
    webhook_id uuid PRIMARY KEY
);

-- Events on their way.
CREATE TABLE webhook_delivery (
    -- Sent as webhook-id.
    id uuid PRIMARY KEY,
    webhook_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    -- While it is being sent: when it is taken for lost and sent again.
    next_attempt_at timestamptz NOT NULL,
    generation integer NOT NULL,
    -- Tries, and those since it was queued, by which the pauses between them grow.
    attempts integer NOT NULL DEFAULT 0,
    step integer NOT NULL DEFAULT 0,
    status_code integer NOT NULL DEFAULT 0,
    -- Somebody asked for it, so it is sent to a disabled webhook too.
    by_hand boolean NOT NULL,
    event text NOT NULL,
    error text NOT NULL DEFAULT '',
    -- What the body is made of: a JSON array (store/outbox.py), and the beginning of a task's output, if it has one.
    facts text NOT NULL,
    result bytea
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
-- What is due, webhook by webhook, so that a backlog of one is not in the way of another's.
CREATE INDEX webhook_delivery_by_due ON webhook_delivery (webhook_id, next_attempt_at);
-- Lists of a webhook.
CREATE INDEX webhook_delivery_by_webhook ON webhook_delivery (webhook_id, id);

-- Deliveries that were taken or given up.
CREATE TABLE webhook_delivery_history (
    id uuid PRIMARY KEY,
    webhook_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    generation integer NOT NULL,
    attempts integer NOT NULL,
    status_code integer NOT NULL,
    state text NOT NULL CHECK (state IN ('delivered', 'failed')),
    event text NOT NULL,
    error text NOT NULL,
    facts text NOT NULL,
    result bytea
);
CREATE INDEX webhook_delivery_history_by_webhook ON webhook_delivery_history (webhook_id, id);
-- Retention. Rows arrive in this order, so a summary of each page range is enough.
CREATE INDEX webhook_delivery_history_by_end ON webhook_delivery_history USING brin (ended_at);
