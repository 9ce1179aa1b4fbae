// Answers questions about workflows, one a line of JSON on stdin, with GitHub's own libraries. One line comes back for each.
//   {"validate": FILE}                               what GitHub would complain of: a list of {line, message}
//   {"evaluate": TEXT, "contexts": {…}, "status": "success" | "failure" | "cancelled"}      the value of an expression
import {readFile} from "node:fs/promises";
import {register} from "node:module";
import {basename} from "node:path";
import {createInterface} from "node:readline";

// The libraries import JSON as bundlers do; Node wants it said.
register(
  "data:text/javascript," +
    encodeURIComponent(`
      import {readFile} from "node:fs/promises";
      export async function load(url, context, next) {
        if (!url.endsWith(".json")) return next(url, context);
        return {format: "module", shortCircuit: true, source: "export default " + (await readFile(new URL(url), "utf8"))};
      }`)
);
const {Evaluator, Lexer, Parser, data} = await import("@actions/expressions");
const {reviver} = await import("./node_modules/@actions/expressions/dist/data/reviver.js");
const {replacer} = await import("./node_modules/@actions/expressions/dist/data/replacer.js");
const {validate} = await import("@actions/languageservice");
const {TextDocument} = await import("vscode-languageserver-textdocument");

async function complaints(file) {
  const folder = file.slice(0, -basename(file).length);
  const document = TextDocument.create(`file://${file}`, "yaml", 1, await readFile(file, "utf8"));
  // A workflow that another one calls lies beside it.
  const fileProvider = {
    getFileContent: async reference => ({
      name: reference.path,
      content: await readFile(folder + basename(reference.path), "utf8"),
    }),
  };
  const found = await validate(document, {fileProvider});
  return found.map(each => ({line: each.range.start.line + 1, message: each.message}));
}

function value(text, contexts, status) {
  const of = (name, holds) => ({name, minArgs: 0, maxArgs: 255, call: () => new data.BooleanData(holds)});
  const functions = [
    of("always", true),
    of("success", status === "success"),
    of("failure", status === "failure"),
    of("cancelled", status === "cancelled"),
    {name: "hashFiles", minArgs: 1, maxArgs: 255, call: () => new data.StringData("a-hash")},
  ];
  const {tokens} = new Lexer(text).lex();
  const expression = new Parser(tokens, Object.keys(contexts), functions).parse();
  const known = JSON.parse(JSON.stringify(contexts), reviver);
  const found = new Evaluator(expression, known, new Map(functions.map(each => [each.name.toLowerCase(), each])));
  return JSON.parse(JSON.stringify(found.evaluate(), replacer));
}

for await (const line of createInterface({input: process.stdin})) {
  const question = JSON.parse(line);
  let answer;
  try {
    answer = question.validate
      ? await complaints(question.validate)
      : value(question.evaluate, question.contexts, question.status);
    console.log(JSON.stringify({answer}));
  } catch (error) {
    console.log(JSON.stringify({error: String(error)}));
  }
}
