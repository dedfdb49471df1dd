// BullMQ as it does best: bulk inserts, a concurrency of 100, finished jobs removed.
"use strict";
const { execFile } = require("node:child_process");
const { writeSync } = require("node:fs");
const { createInterface } = require("node:readline");
const { Queue, Worker } = require("bullmq");
const { Redis } = require("ioredis");

const connection = new Redis(process.env.PEER_REDIS_URL, { maxRetriesPerRequest: null });
const now = () => process.hrtime.bigint();
const tell = (...words) => writeSync(1, words.join(" ") + "\n");
const opts = { removeOnComplete: true };

async function submit() {
  const queue = new Queue("peer", { connection });
  tell("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    const [what, ...args] = line.split(" ");
    if (what === "bulk") {
      const [name, count, size] = [args[0], Number(args[1]), Number(args[2])];
      const began = now();
      for (let first = 0; first < count; first += size) {
        const some = Math.min(size, count - first);
        await queue.addBulk(Array.from({ length: some }, () => ({ name, data: {}, opts })));
      }
      tell("did", began, now());
    } else if (what === "one") {
      const began = now();
      await queue.add("stamp", { number: Number(args[0]) }, opts);
      tell("did", began, now());
    } else if (what === "pending") {
      const counts = await queue.getJobCounts("waiting", "active", "prioritized", "delayed");
      tell("pending", Object.values(counts).reduce((sum, count) => sum + count, 0));
    }
  }
  await queue.close();
  connection.disconnect();
}

async function work(expected) {
  let ran = 0;
  const noop = () => {
    ran += 1;
    if (ran === 1) tell("first", now());
    if (ran === expected) tell("reached", now());
  };
  const worker = new Worker(
    "peer",
    async (job) => {
      if (job.name === "stamp") {
        tell("started", job.data.number, now());
      } else if (job.name === "true") {
        await new Promise((resolve, reject) => execFile("true", (error) => (error ? reject(error) : resolve())));
        noop();
      } else {
        noop();
      }
    },
    { connection, concurrency: 100 },
  );
  await worker.waitUntilReady();
  tell("ready");
}

(process.argv[2] === "submit" ? submit() : work(Number(process.argv[4]))).catch((error) => {
  console.error(error);
  process.exit(1);
});
