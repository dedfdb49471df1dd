-- expand, compatible_from: 1
--
-- Tasks on their own that failed because of a dependency, once for each task they depend on: who may be put back when one of
-- those is retried and succeeds.
CREATE TABLE failed_dependent (
    parent_id uuid NOT NULL,
    child_id uuid NOT NULL,
    -- Whether the dependency has succeeded since, so that the dependent is to be asked again.
    due boolean NOT NULL,
    PRIMARY KEY (parent_id, child_id)
);
-- A dependent that lives again, or is gone, leaves no note.
CREATE INDEX failed_dependent_by_child ON failed_dependent (child_id);
-- What is to be done next, which mostly is nothing.
CREATE INDEX failed_dependent_due ON failed_dependent (child_id) WHERE due;
