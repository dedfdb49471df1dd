-- expand, compatible_from: 1
--
-- What a worker holds and has ended changes with every commit that concerns it: there must be room for its row's versions.
ALTER TABLE worker SET (
    fillfactor = 30,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
