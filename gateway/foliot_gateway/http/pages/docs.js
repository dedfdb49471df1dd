// Renders /openapi.json. Everything is put into the page as text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const NESTING_MAX = 6;

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

// Text in which `...` stands for code, as in the document's descriptions.
function prose(text) {
  const made = element("p");
  (text || "").split("`").forEach((part, index) => made.append(index % 2 ? element("code", {}, part) : part));
  return made;
}

function resolve(root, schema) {
  if (!schema.$ref) return schema;
  return schema.$ref.slice(2).split("/").reduce((node, key) => node[key.replaceAll("~1", "/")], root);
}

function typeName(root, schema) {
  if (schema.$ref) return schema.$ref.split(".").pop();
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const parts = schema.anyOf || schema.oneOf;
  if (parts) return parts.map((part) => typeName(root, part)).join(" | ");
  if (schema.type === "array") return schema.items ? `list of ${typeName(root, schema.items)}` : "list";
  return schema.format ? `${schema.type} (${schema.format})` : schema.type || "any";
}

function limits(schema) {
  const shown = [];
  const all = [schema, ...(schema.anyOf || [])];
  for (const part of all) {
    if (part.minimum !== undefined) shown.push(`at least ${part.minimum}`);
    if (part.exclusiveMinimum !== undefined) shown.push(`more than ${part.exclusiveMinimum}`);
    if (part.maximum !== undefined) shown.push(`at most ${part.maximum}`);
    if (part.maxLength !== undefined) shown.push(`at most ${part.maxLength} characters`);
    if (part.maxItems !== undefined) shown.push(`at most ${part.maxItems} items`);
  }
  if (schema.default !== undefined && schema.default !== null) shown.push(`default ${JSON.stringify(schema.default)}`);
  return shown.join(", ");
}

function row(root, name, schema, required, description, depth) {
  const kind = typeName(root, schema) + (required ? ", required" : "");
  const said = element("dd", {}, prose(description || schema.description));
  const bounds = limits(schema);
  if (bounds) said.append(element("small", {}, bounds));
  const inner = nested(root, schema, depth + 1);
  if (inner) said.append(inner);
  return element("div", {}, element("dt", {}, name, element("small", {}, kind)), said);
}

// The fields of the objects that a schema may hold, behind a disclosure.
function nested(root, schema, depth) {
  if (depth > NESTING_MAX) return null;
  const candidates = [schema, schema.items, ...(schema.anyOf || []), ...(schema.oneOf || [])].filter(Boolean);
  const found = candidates.filter((part) => part.$ref).map((part) => [part.$ref.split(".").pop(), resolve(root, part)]);
  if (!found.length) return null;
  const box = element("div", { class: "nested" });
  for (const [name, part] of found) {
    const details = element("details", {}, element("summary", {}, `Fields of ${name}`));
    // Filled when it is first opened: schemas may be large.
    details.addEventListener("toggle", () => details.append(fields(root, part, depth)), { once: true });
    box.append(details);
  }
  return box;
}

function fields(root, schema, depth) {
  const held = resolve(root, schema);
  const list = element("dl");
  for (const [name, part] of Object.entries(held.properties || {})) {
    list.append(row(root, name, part, (held.required || []).includes(name), "", depth));
  }
  return element("div", {}, prose(held.description), list);
}

function body(root, content) {
  const [kind, media] = Object.entries(content)[0];
  const holder = media.schema.type === "array" ? media.schema.items : media.schema;
  return element("div", {},
    element("p", {}, element("code", {}, kind), media.schema.type === "array" ? ", a list" : ""),
    element("pre", {}, JSON.stringify(media.example, null, 2)),
    fields(root, holder, 0));
}

function response(root, status, shown) {
  const node = resolve(root, shown);
  const ok = status < "400";
  const details = element("details", {},
    element("summary", {}, element("span", { class: `status ${ok ? "ok" : "bad"}` }, status), node.description));
  for (const [name, header] of Object.entries(node.headers || {})) {
    details.append(element("p", {}, "Header ", element("code", {}, name), `: ${header.description}`));
  }
  if (node.content) details.addEventListener("toggle", () => details.append(body(root, node.content)), { once: true });
  return details;
}

function operation(root, path, method, node) {
  const inside = element("div", {}, prose(node.description));
  if (node.parameters) {
    const list = element("dl");
    for (const one of node.parameters) {
      list.append(row(root, `${one.name} (${one.in})`, one.schema, one.required, one.description, 0));
    }
    inside.append(element("h4", {}, "Parameters"), list);
  }
  if (node.requestBody) inside.append(element("h4", {}, "Body"), body(root, node.requestBody.content));
  inside.append(element("h4", {}, "Answers"));
  for (const [status, one] of Object.entries(node.responses)) inside.append(response(root, status, one));
  const heading = element("h3", {}, element("span", { class: `method ${method}` }, method),
    element("code", {}, path), element("span", { class: "summary" }, node.summary));
  return element("article", { id: node.operationId }, heading, inside);
}

function render(root) {
  document.title = `${root.info.title} API`;
  document.getElementById("title").textContent = `${root.info.title} API ${root.info.version}`;
  document.getElementById("about").replaceWith(prose(root.info.description));
  const contents = document.getElementById("contents");
  const main = document.getElementById("operations");
  main.replaceChildren();
  for (const tag of root.tags) {
    contents.append(element("li", { class: "tag" }, tag.name));
    main.append(element("h2", {}, tag.name), prose(tag.description));
    for (const [path, item] of Object.entries(root.paths)) {
      for (const method of METHODS.filter((name) => item[name] && item[name].tags.includes(tag.name))) {
        const link = element("a", { href: `#${item[method].operationId}` },
          element("span", { class: `method ${method}` }, method), ` ${path}`);
        contents.append(element("li", { "data-text": `${method} ${path} ${item[method].summary}`.toLowerCase() }, link));
        main.append(operation(root, path, method, item[method]));
      }
    }
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const item of document.querySelectorAll("#contents li[data-text]")) {
    item.hidden = !item.dataset.text.includes(wanted);
  }
});

fetch("/openapi.json")
  .then((answer) => answer.ok ? answer.json() : Promise.reject(new Error(`status ${answer.status}`)))
  .then(render)
  .catch((error) => {
    document.getElementById("operations").replaceChildren(prose(`The document could not be read: ${error.message}.`));
  });
