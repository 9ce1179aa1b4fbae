// openapi.json as a page: one folding part for each operation.

const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};
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
    make("h3", {}, `${title}: ${media}`),
    ...Object.entries(examples ?? {}).flatMap(([name, { value }]) => [make("p", { class: "faint" }, `Example: ${name}`), json(value)]),
    make("p", { class: "faint" }, "Schema"),
    json(inPlace(schema)),
  ]);
}

function operation(path, method, { summary, requestBody, responses }) {
  const heading = make("summary", {}, make("b", {}, method.toUpperCase()), " ", make("code", {}, path), ` ${summary}`);
  const answers = Object.entries(responses).flatMap(([status, { description, content }]) =>
    status === "200" ? parts("Answer", content) : [make("p", {}, make("b", {}, status), ` ${description}`)]);
  return make("details", {}, heading, ...parts("Request", requestBody?.content), ...answers);
}

const description = await (await fetch("openapi.json")).json();
schemas = description.components.schemas;
document.title = `${description.info.title}: requests and protocols`;
document.getElementById("name").textContent = description.info.title;
document.getElementById("about").textContent = `${description.info.description} Version ${description.info.version}.`;
const tags = new Map();
for (const [path, methods] of Object.entries(description.paths)) {
  for (const [method, found] of Object.entries(methods)) {
    const tag = found.tags[0];
    if (!tags.has(tag)) tags.set(tag, make("div", {}, make("h2", {}, tag)));
    tags.get(tag).append(operation(path, method, found));
  }
}
document.getElementById("operations").append(...tags.values());
