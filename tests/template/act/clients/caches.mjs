// What actions/cache/restore and actions/cache/save do around GitHub's own client, which does the rest.
import * as cache from "@actions/cache";
import * as core from "@actions/core";

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
const { PATHS, KEY, KEYS } = process.env;

async function restore() {
  const found = await cache.restoreCache(lines(PATHS), KEY, lines(KEYS));
  core.info(found ? `Cache restored from key: ${found}` : `Cache not found for input keys: ${[KEY, ...lines(KEYS)].join(", ")}`);
}

async function save() {
  try {
    if ((await cache.saveCache(lines(PATHS), KEY)) !== -1) core.info(`Cache saved with key: ${KEY}`);
  } catch (error) {
    core.warning(error.message); // a cache that cannot be kept fails no job
  }
}

await { restore, save }[process.argv[2]]();
