-- expand, compatible_from: 1
--
-- Lists and counts of binary tasks on their own, by state, newest first: what executors claim. They may be few among millions of
-- other tasks, which then need not be read; a row that is none of them costs nothing here.
CREATE INDEX task_binary ON task (project, state, id) INCLUDE (priority) WHERE kind = 'binary' AND run_id IS NULL;
CREATE INDEX task_history_binary ON task_history (project, state, id) INCLUDE (priority)
    WHERE kind = 'binary' AND run_id IS NULL;
