// graphile-worker as it does best: a local queue of 500, completions in batches, bulk inserts. It deletes finished jobs.
"use strict";
const { execFile } = require("node:child_process");
const { writeSync } = require("node:fs");
const { createInterface } = require("node:readline");
const { Logger, makeWorkerUtils, run, runMigrations } = require("graphile-worker");
const { Pool } = require("pg");

const connectionString = process.env.PEER_DATABASE_URL;
const quiet = new Logger(() => () => {});
const now = () => process.hrtime.bigint();
const tell = (...words) => writeSync(1, words.join(" ") + "\n");

async function submit() {
  await runMigrations({ connectionString, logger: quiet });
  const utils = await makeWorkerUtils({ connectionString, logger: quiet });
  const pool = new Pool({ connectionString });
  tell("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    const [what, ...args] = line.split(" ");
    if (what === "bulk") {
      const [name, count, size] = [args[0], Number(args[1]), Number(args[2])];
      const began = now();
      for (let first = 0; first < count; first += size) {
        const some = Math.min(size, count - first);
        await utils.addJobs(Array.from({ length: some }, () => ({ identifier: name, payload: {} })));
      }
      tell("did", began, now());
    } else if (what === "one") {
      const began = now();
      await utils.addJob("stamp", { number: Number(args[0]) });
      tell("did", began, now());
    } else if (what === "pending") {
      const { rows } = await pool.query("SELECT count(*) AS n FROM graphile_worker._private_jobs");
      tell("pending", rows[0].n);
    }
  }
  await pool.end();
  await utils.release();
}

async function work(expected) {
  let ran = 0;
  const noop = () => {
    ran += 1;
    if (ran === 1) tell("first", now());
    if (ran === expected) tell("reached", now());
  };
  const taskList = {
    noop: async () => noop(),
    stamp: async (payload) => tell("started", payload.number, now()),
    true: (_) =>
      new Promise((resolve, reject) =>
        execFile("true", (error) => {
          noop();
          if (error) reject(error);
          else resolve();
        }),
      ),
  };
  const runner = await run({
    taskList,
    preset: {
      worker: {
        connectionString,
        logger: quiet,
        concurrentJobs: 24,
        maxPoolSize: 10,
        pollInterval: 2000,
        localQueue: { size: 500 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  });
  tell("ready");
  await runner.promise;
}

(process.argv[2] === "submit" ? submit() : work(Number(process.argv[4]))).catch((error) => {
  console.error(error);
  process.exit(1);
});
