-- announce: note that a component ($2) of a kind ($1) is up, unless there are too many of it already ($3)
INSERT INTO component (seen_at, kind, name)
SELECT now(), $1, $2
WHERE (SELECT count(*) FROM component WHERE kind = $1) < $3 OR EXISTS (SELECT FROM component WHERE kind = $1 AND name = $2)
ON CONFLICT (kind, name) DO UPDATE SET seen_at = excluded.seen_at
RETURNING 1

-- leave: forget a component that stops
DELETE FROM component WHERE kind = $1 AND name = $2

-- forget_silent: forget components that have been silent for so many seconds ($1)
DELETE FROM component WHERE seen_at < now() - make_interval(secs => $1)

-- count_alive: how many components of each kind were heard of in the last so many seconds ($1)
SELECT kind, count(*)::integer AS components FROM component WHERE seen_at > now() - make_interval(secs => $1) GROUP BY kind
