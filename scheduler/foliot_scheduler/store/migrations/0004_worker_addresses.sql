-- expand, compatible_from: 1
--
-- Where each attempt ran, and whose an executor's leases are.

-- What the worker of the latest attempt said of where it runs; empty before the first, and where it said nothing.
ALTER TABLE task ADD COLUMN worker_address text NOT NULL DEFAULT '';
ALTER TABLE task_history ADD COLUMN worker_address text NOT NULL DEFAULT '';
ALTER TABLE attempt ADD COLUMN worker_address text NOT NULL DEFAULT '';

-- Of an executor; empty for a worker, which serves all. With worker_id it names a row of `worker`: a worker and an executor may
-- have the same id.
ALTER TABLE lease_batch ADD COLUMN project text NOT NULL DEFAULT '';
