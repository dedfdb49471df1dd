-- expand, concurrently, compatible_from: 10
--
-- Lists and counts of a webhook's deliveries in one state, of which there may be few among a million others.
CREATE INDEX CONCURRENTLY IF NOT EXISTS webhook_delivery_history_by_state ON webhook_delivery_history (webhook_id, state, id);
