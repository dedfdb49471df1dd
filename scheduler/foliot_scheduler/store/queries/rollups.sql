-- sum_by_step: what ended in a project ($1) from a time ($2) to another ($3), in spans of so many microseconds ($4)
-- A sum of bigint is numeric; no project ends so many tasks that it would not fit.
SELECT
    date_bin($4::bigint * interval '1 microsecond', minute_at, $2) AS start_at, sum(succeeded)::bigint AS succeeded,
    sum(failed)::bigint AS failed, sum(cancelled)::bigint AS cancelled, sum(skipped)::bigint AS skipped,
    sum(timed)::bigint AS timed, sum(run_time_us)::bigint AS run_time
FROM rollup
WHERE project = $1 AND minute_at >= $2 AND minute_at < $3
GROUP BY 1
ORDER BY 1
