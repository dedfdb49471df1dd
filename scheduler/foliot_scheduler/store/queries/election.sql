-- ensure_row: make the row of a shard that was never led
INSERT INTO leadership (shard, epoch, leader, address, elected_at, renewed_at)
VALUES ($1, 0, '', '', now(), now())
ON CONFLICT (shard) DO NOTHING

-- wait_for_lock: wait for the shard's lock, for as long as the session's lock_timeout says
-- The two keys are the lock's name: "foli" in ASCII, and the shard.
SELECT pg_advisory_lock(1718578281, $1)

-- take_epoch: begin a term
-- Waits for the commits of the term before, which hold the row FOR SHARE. Nobody is sent to the new leader before it is ready.
UPDATE leadership
SET epoch = epoch + 1, leader = '', address = '', elected_at = clock_timestamp(), renewed_at = clock_timestamp()
WHERE shard = $1
RETURNING epoch, elected_at

-- announce: say who leads and where, once the leader is ready
UPDATE leadership SET leader = $3, address = $4, renewed_at = now() WHERE shard = $1 AND epoch = $2 RETURNING 1

-- renew: prove a term, say that its leader is alive, and tell it the time
UPDATE leadership SET renewed_at = clock_timestamp() WHERE shard = $1 AND epoch = $2 RETURNING renewed_at

-- release_lock: give the shard's lock away
SELECT pg_advisory_unlock(1718578281, $1)

-- resign: leave a term, so that nobody is sent to a replica that has stopped
UPDATE leadership SET leader = '', address = '' WHERE shard = $1 AND epoch = $2

-- read_leadership: who leads, and how long ago that was proven
SELECT epoch, leader, address, elected_at, extract(epoch FROM now() - renewed_at)::float8 AS silent_s
FROM leadership
WHERE shard = $1

-- end_stalled: end the session that holds the shard's lock, if its leader has been silent for too long
-- A process that is stopped, or a host that is gone, keeps its session; PostgreSQL's clock alone judges, so no skew matters.
-- Stalled is who asks for nothing: not a leader whose commit PostgreSQL takes long over, where another one's would last as long,
-- and not who has been given the lock just now and has yet to say so.
SELECT pg_terminate_backend(holder.pid)
FROM pg_locks AS holder
JOIN leadership ON leadership.shard = $1
JOIN pg_stat_activity AS session ON session.pid = holder.pid
WHERE holder.locktype = 'advisory'
  AND holder.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND holder.classid = 1718578281
  AND holder.objid = $1::int::oid
  AND holder.granted
  AND holder.pid <> pg_backend_pid()
  AND leadership.renewed_at < now() - make_interval(secs => $2)
  AND session.state <> 'active'
  AND session.state_change < now() - make_interval(secs => $2)
