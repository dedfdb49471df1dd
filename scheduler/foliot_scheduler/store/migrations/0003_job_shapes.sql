-- expand, compatible_from: 1
--
-- What a job consists of, for surfaces that show jobs of one form only; and what lists show of a job, apart from its tasks, so
-- that a page of jobs does not read their whole DAGs. Both follow from the stored JobSpec.

ALTER TABLE job ADD COLUMN shape text CHECK (shape IN ('scheduled_command', 'scheduled_http', 'other'));
ALTER TABLE job_version
    -- The serialized JobSpec without its tasks, and how many there are; null: written by a release that did not know them.
    ADD COLUMN head bytea,
    ADD COLUMN task_count integer;

-- Reads a number of protobuf's wire format that begins at a byte of a message: the number, and where the next byte is.
CREATE FUNCTION pg_temp.read_varint(message bytea, INOUT place integer, OUT value bigint)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    shift integer := 0;
    part integer;
BEGIN
    value := 0;
    LOOP
        part := get_byte(message, place);
        place := place + 1;
        value := value | ((part & 127)::bigint << shift);
        EXIT WHEN part < 128;
        shift := shift + 7;
    END LOOP;
END
$$;

-- Splits a message of protobuf's wire format into its fields, each as it stands (`raw`) and what it holds if it has a length.
CREATE FUNCTION pg_temp.read_fields(message bytea)
RETURNS TABLE (number integer, raw bytea, content bytea)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    place integer := 0;
    began integer;
    tag bigint;
    size bigint;
BEGIN
    message := message || ''::bytea;
    WHILE place < octet_length(message) LOOP
        began := place;
        content := NULL;
        SELECT read.place, read.value INTO place, tag FROM pg_temp.read_varint(message, place) AS read;
        CASE tag & 7
            WHEN 0 THEN SELECT read.place INTO place FROM pg_temp.read_varint(message, place) AS read;
            WHEN 1 THEN place := place + 8;
            WHEN 5 THEN place := place + 4;
            ELSE
                SELECT read.place, read.value INTO place, size FROM pg_temp.read_varint(message, place) AS read;
                content := substring(message FROM place + 1 FOR size::integer);
                place := place + size::integer;
        END CASE;
        number := tag >> 3;
        raw := substring(message FROM began + 1 FOR place - began);
        RETURN NEXT;
    END LOOP;
END
$$;

-- Field 4 of JobSpec is its tasks.
UPDATE job_version
SET head = kept.head, task_count = kept.task_count
FROM job_version AS whole
CROSS JOIN LATERAL (
    SELECT
        coalesce(string_agg(field.raw, ''::bytea ORDER BY field.place) FILTER (WHERE field.number <> 4), ''::bytea) AS head,
        count(*) FILTER (WHERE field.number = 4) AS task_count
    FROM pg_temp.read_fields(whole.spec) WITH ORDINALITY AS field (number, raw, content, place)
) AS kept
WHERE whole.job_id = job_version.job_id AND whole.version = job_version.version;

-- Field 4 of JobTask is its TaskSpec, where field 20 is a command and 21 an HTTP request.
UPDATE job
SET shape = CASE
    WHEN job.cron IS NULL OR version.task_count <> 1 THEN 'other'
    ELSE coalesce(
        (
            SELECT CASE work.number WHEN 20 THEN 'scheduled_command' WHEN 21 THEN 'scheduled_http' END
            FROM pg_temp.read_fields(version.spec) AS task
            CROSS JOIN LATERAL pg_temp.read_fields(task.content) AS spec
            CROSS JOIN LATERAL pg_temp.read_fields(spec.content) AS work
            WHERE task.number = 4 AND spec.number = 4 AND work.number IN (20, 21)
            LIMIT 1
        ),
        'other'
    )
END
FROM job_version AS version
WHERE version.job_id = job.id AND version.version = job.version;

DROP FUNCTION pg_temp.read_fields;
DROP FUNCTION pg_temp.read_varint;

-- Lists of a project's jobs of one form.
CREATE INDEX job_by_shape ON job (project, shape, id) WHERE state <> 'deleted';
