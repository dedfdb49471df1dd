-- contract, compatible_from: 10
--
-- Redrives: a run that failed for good is a dead letter until another run is started in its place. That is said by the failed
-- run's own row, so that it goes with its partition. Code before this cannot read a run whose trigger is a redrive.

ALTER TABLE run
    ADD COLUMN redrive_of uuid,
    DROP CONSTRAINT run_trigger_check,
    ADD CONSTRAINT run_trigger_check CHECK (trigger IN ('manual', 'schedule', 'redrive'));

-- Partitions were made like their parent, with constraints of their own.
DO $$
DECLARE
    child regclass;
BEGIN
    ALTER TABLE run_history DROP CONSTRAINT run_history_trigger_check;
    FOR child IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'run_history'::regclass LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS run_history_trigger_check', child);
    END LOOP;
END
$$;
ALTER TABLE run_history
    ADD CONSTRAINT run_history_trigger_check CHECK (trigger IN ('manual', 'schedule', 'redrive')),
    -- The dead letter that it is another try of.
    ADD COLUMN redrive_of uuid,
    -- The run that took it out of the dead letters.
    ADD COLUMN redriven_by uuid,
    -- Of its job as it was for this run.
    ADD COLUMN shape text NOT NULL DEFAULT 'other' CHECK (shape IN ('scheduled_command', 'scheduled_http', 'other'));

UPDATE run_history SET shape = job.shape FROM job WHERE job.id = run_history.job_id AND job.shape <> 'other';

-- Dead letters, newest first: those of one shape, or of the three merged. Only failed runs have a row in it, until a redrive.
CREATE INDEX run_history_dead ON run_history (project, shape, id) WHERE state = 'failed' AND redriven_by IS NULL;
