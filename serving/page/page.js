// The page is made from the service's own description, so it fits any model.

const at = (id) => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};
const read = async (path) => (await fetch(path)).json();
const short = (text) => text.replace(/[0-9a-f]{40,64}/g, (hash) => hash.slice(0, 12));
const percent = (share) => `${(100 * share).toFixed(1)} %`;

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

let fields = [];
let records = [];
let shown = 0;

function field(name, schema, number) {
  const kinds = [schema.type].flat();
  const isNumber = kinds.includes("number");
  const id = `field-${number}`;
  const input = make("input", { id, name, autocomplete: "off", "aria-describedby": `${id}-note` });
  if (isNumber) input.setAttribute("inputmode", "decimal");
  const note = make("span", { id: `${id}-note`, class: "hint" });
  const hint = kinds.includes("null") ? "empty: missing" : "";
  note.textContent = hint;
  const parts = [make("label", { for: id }, name), input, note];
  if (schema.examples) {
    input.setAttribute("list", `${id}-list`);
    parts.push(make("datalist", { id: `${id}-list` }, ...schema.examples.map((value) => make("option", { value }))));
  }
  fields.push({ name, input, note, hint, isNumber, nullable: kinds.includes("null") });
  return make("div", {}, ...parts);
}

function fill(record) {
  for (const each of fields) each.input.value = record[each.name] ?? "";
  complain([]);
  showCurl();
}

function valueOf({ input, isNumber, nullable }) {
  const text = input.value;
  if (text === "" && (nullable || isNumber)) return null;
  if (!isNumber) return text;
  const trimmed = text.trim();
  return NUMBER.test(trimmed) ? Number(trimmed) : text; // the service says what is wrong with it
}

const request = () => JSON.stringify({ instances: [Object.fromEntries(fields.map((each) => [each.name, valueOf(each)]))] });

function showCurl() {
  const quoted = request().replaceAll("'", "'\\''");
  const url = new URL("predict", location.href);
  at("curl").textContent = `curl -s ${url} \\\n  -H 'Content-Type: application/json' \\\n  -d '${quoted}'`;
}

function complain(errors) {
  for (const each of fields) {
    const found = errors.find((error) => error.field === each.name);
    each.input.setAttribute("aria-invalid", String(Boolean(found)));
    each.note.className = found ? "wrong" : "hint";
    each.note.textContent = found ? found.detail : each.hint;
  }
  fields.find((each) => errors.some((error) => error.field === each.name))?.input.focus();
}

function bars(prediction) {
  const sorted = Object.entries(prediction.probabilities).sort((one, other) => other[1] - one[1]);
  return sorted.slice(0, 20).map(([name, share]) => {
    const fillBar = make("div", { class: "fill" });
    fillBar.style.width = `${100 * share}%`;
    const track = make("div", { class: "track", "aria-hidden": "true" }, fillBar);
    return make("div", { class: "class" }, make("b", {}, name), make("span", {}, percent(share)), track);
  });
}

async function predict(event) {
  event.preventDefault();
  showCurl();
  const started = performance.now();
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: request() };
  let answer, document_;
  try {
    answer = await fetch("predict", options);
    document_ = await answer.json();
  } catch (error) {
    at("answer").replaceChildren(make("p", { class: "wrong" }, `No answer: ${error.message}`));
    return;
  }
  const took = (performance.now() - started).toFixed(1);
  complain(document_.errors ?? []);
  if (!answer.ok) {
    at("answer").replaceChildren(make("p", { class: "wrong" }, `Refused (${answer.status}): ${document_.detail}`));
    return;
  }
  const [prediction] = document_.predictions;
  const drawn = prediction.probabilities ? bars(prediction) : [make("p", { class: "value" }, prediction.value.toLocaleString())];
  const time = `${took} ms, there and back, by version ${document_.model.version}`;
  at("answer").replaceChildren(...drawn, make("p", { class: "faint" }, time));
}

function facts(card, release) {
  const shownFacts = {
    Version: card.version,
    Trained: new Date(card.created).toLocaleString(),
    Commit: short(card.git_sha) || "unknown",
    "Held-out rows": Object.entries(card.metrics).map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`).join(", "),
    Data: Object.entries(card.data).map(([name, value]) => `${name} ${short(typeof value === "object" ? JSON.stringify(value) : String(value))}`).join(", "),
    "Served by": card.runtime === "onnx" ? "ONNX Runtime" : `scikit-learn (${card.reason})`,
    ...(release ? { "Load test": release } : {}),
  };
  at("facts").replaceChildren(...Object.entries(shownFacts).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

// --- All requests and protocols: one folding part for each operation

const json = (value) => make("pre", { tabindex: "0" }, JSON.stringify(value, null, 1));

let schemas = {};

// A schema with its references in place, two levels deep at most.
function inPlace(schema, depth = 0) {
  if (Array.isArray(schema)) return schema.map((each) => inPlace(each, depth));
  if (schema === null || typeof schema !== "object") return schema;
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return depth > 3 ? name : inPlace(schemas[name], depth + 1);
  }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, inPlace(value, depth)]));
}

function parts(title, content) {
  return Object.entries(content ?? {}).flatMap(([media, { schema, examples }]) => [
    make("h4", {}, `${title}: ${media}`),
    ...Object.entries(examples ?? {}).flatMap(([name, { value }]) => [make("p", { class: "faint" }, `Example: ${name}`), json(value)]),
    make("p", { class: "faint" }, "Schema"),
    json(inPlace(schema)),
  ]);
}

function folded(path, method, { summary, requestBody, responses }) {
  const heading = make("summary", {}, make("b", {}, method.toUpperCase()), " ", make("code", {}, path), ` ${summary}`);
  const answers = Object.entries(responses).flatMap(([status, { description, content }]) =>
    status === "200" ? parts("Answer", content) : [make("p", {}, make("b", {}, status), ` ${description}`)]);
  return make("details", {}, heading, ...parts("Request", requestBody?.content), ...answers);
}

function operations(paths) {
  const tags = new Map();
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, found] of Object.entries(methods)) {
      const tag = found.tags[0];
      if (!tags.has(tag)) tags.set(tag, make("div", {}, make("h3", {}, tag)));
      tags.get(tag).append(folded(path, method, found));
    }
  }
  at("operations").replaceChildren(...tags.values());
}

async function start() {
  const [description, card] = await Promise.all([read("openapi.json"), read("model")]);
  document.title = card.name;
  at("name").textContent = card.name;
  at("about").textContent = description.info.description;
  const record = description.components.schemas.Record;
  at("fields").replaceChildren(...record.required.map((name, n) => field(name, record.properties[name], n)));
  records = description.paths["/predict"].post.requestBody.content["application/json"].examples["several records"].value.instances;
  fill(records[0]);
  facts(card, description.info["x-release"]);
  schemas = description.components.schemas;
  operations(description.paths);
  at("form").addEventListener("submit", predict);
  at("form").addEventListener("input", showCurl);
  at("another").addEventListener("click", () => fill(records[++shown % records.length]));
  at("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(at("curl").textContent);
    at("copy").textContent = "Copied";
  });
}

start().catch((error) => { at("about").textContent = `The service's description could not be read: ${error.message}`; });
