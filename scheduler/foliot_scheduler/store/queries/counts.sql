-- live: tasks of a project that have not ended, by state and priority, highest first
SELECT state, priority, tasks
FROM task_count
WHERE project = $1 AND day = 0 AND tasks > 0 AND state = ANY ('{blocked,scheduled,ready,running}'::text[])
ORDER BY state, priority DESC

-- all: tasks of a project in some states ($2)
SELECT coalesce(sum(tasks), 0)::bigint FROM task_count WHERE project = $1 AND state = ANY ($2::text[])

-- unended: tasks of all projects that have not ended, by state
SELECT state, sum(tasks)::bigint AS tasks
FROM task_count
WHERE day = 0 AND state = ANY ('{blocked,scheduled,ready,running}'::text[])
GROUP BY state
