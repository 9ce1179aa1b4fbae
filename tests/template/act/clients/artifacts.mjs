// What actions/upload-artifact and actions/download-artifact do around GitHub's own client, which does the rest.
import { statSync } from "node:fs";
import { dirname, sep } from "node:path";
import { ArtifactNotFoundError, DefaultArtifactClient } from "@actions/artifact";
import * as core from "@actions/core";
import * as glob from "@actions/glob";

const { NAME, PATHS, TO, MISSING, OVERWRITE, DAYS } = process.env;
const client = new DefaultArtifactClient();

// The folder that all paths lie in; it is where the names within the artifact begin.
function common(paths) {
  const parts = paths.map((path) => path.split(sep));
  let same = 0;
  while (parts.every((each) => same < each.length && each[same] === parts[0][same])) same += 1;
  return parts[0].slice(0, same).join(sep);
}

async function upload() {
  const options = { implicitDescendants: true, omitBrokenSymbolicLinks: true, excludeHiddenFiles: true };
  const globber = await glob.create(PATHS, options);
  const files = (await globber.glob()).filter((file) => !statSync(file).isDirectory());
  if (!files.length) {
    const said = `No files were found with the provided path: ${PATHS}. No artifacts will be uploaded.`;
    return { error: core.setFailed, warn: core.warning, ignore: core.info }[MISSING](said);
  }
  const searched = globber.getSearchPaths();
  const alone = searched.length === 1 && files.length === 1 && files[0] === searched[0];
  const root = alone ? dirname(files[0]) : common(searched);
  if (OVERWRITE === "true") {
    await client.deleteArtifact(NAME).catch((error) => {
      if (!(error instanceof ArtifactNotFoundError)) throw error;
    });
  }
  await client.uploadArtifact(NAME, files, root, { retentionDays: Number(DAYS) });
}

async function download() {
  const { artifact } = await client.getArtifact(NAME);
  const { digestMismatch } = await client.downloadArtifact(artifact.id, { path: TO, expectedHash: artifact.digest });
  if (digestMismatch) core.setFailed(`${NAME} has another digest than it was uploaded with.`);
}

try {
  await { upload, download }[process.argv[2]]();
} catch (error) {
  core.setFailed(error.message);
}
