"use strict";
// The form comes from the model's schema; values are only ever written as text, never as markup.
const $ = (id) => document.getElementById(id);
const make = (tag, text, more) => Object.assign(document.createElement(tag), { textContent: text ?? "" }, more);
let models = [], model = null, golden = [], picture = null;

function headers(more) {
  const token = sessionStorage.getItem("token");
  return { ...(token ? { authorization: `Bearer ${token}` } : {}), ...more };
}

async function get(path) {
  const answer = await fetch(path, { headers: headers() });
  if (answer.status === 401) $("token-box").hidden = false;
  if (!answer.ok) throw new Error((await answer.json()).detail ?? answer.statusText);
  return answer.json();
}

async function begin() {
  try {
    models = (await get("/v1/models")).models;
  } catch (error) {
    return problem(error.message);
  }
  $("token-box").hidden = true;
  $("model").replaceChildren(...models.map((m) => make("option", m.name, { value: m.name })));
  await choose();
  const paths = (await get("/openapi.json")).paths;
  $("paths").replaceChildren(...Object.entries(paths).flatMap(([path, ways]) => Object.entries(ways).flatMap(
    ([way, what]) => [make("dt", `${way.toUpperCase()} ${path}`), make("dd", what.summary)])));
}

async function choose() {
  const chosen = models.find((m) => m.name === $("model").value);
  model = chosen;
  delete document.body.dataset.model;
  picture = null;
  $("answer").replaceChildren();
  problem("");
  $("raw").textContent = "";
  $("state").textContent = model.default ? `version ${model.default}, ${model.task}` : "no version is loaded";
  const found = (await get(`/v1/models/${model.name}/golden`)).golden;
  if (model !== chosen) return; // another was chosen meanwhile
  golden = found;
  $("golden-label").hidden = !golden.length;
  $("golden").replaceChildren(make("option", "choose one", { value: "" }),
    ...golden.map((_, i) => make("option", `example ${i + 1}`, { value: i })));
  form();
  if (golden.length) { $("golden").value = "0"; fill(golden[0].record); }
  describe();
  document.body.dataset.model = model.name;
}

const properties = () => model.schema?.request?.properties ?? {};
const types = (field) => [].concat(field.type ?? []);

function form() {
  $("fields").replaceChildren(...Object.entries(properties()).map(([name, field]) => {
    if (name === model.pictures) return dropZone();
    const label = make("label", name, { title: field.description ?? "" });
    const kinds = types(field);
    if (kinds.includes("array")) label.append(make("textarea", "", { name, placeholder: "JSON" }));
    else if (model.task.startsWith("text")) label.append(make("textarea", "", { name }));
    else if (!kinds.includes("string")) label.append(make("input", "", { name, type: "number", step: "any" }));
    else {
      const list = make("datalist", "", { id: `values-${name}` });
      list.append(...(field.examples ?? []).map((value) => make("option", "", { value })));
      const input = make("input", "", { name });
      input.setAttribute("list", list.id);
      label.append(input, list);
    }
    if (label.querySelector("textarea")) label.className = "wide";
    return label;
  }));
}

function dropZone() {
  const zone = make("label", "Drop a picture here, or choose one", { className: "drop wide" });
  const file = make("input", "", { type: "file", accept: "image/jpeg,image/png,image/webp", id: "file" });
  const shown = make("img", "", { alt: "", hidden: true, id: "shown" });
  zone.append(file, shown);
  file.addEventListener("change", () => file.files[0] && take(file.files[0]));
  for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]])
    zone.addEventListener(event, (e) => { e.preventDefault(); zone.classList.toggle("over", over); });
  zone.addEventListener("drop", (e) => e.dataTransfer.files[0] && take(e.dataTransfer.files[0]));
  return zone;
}

function take(file) {
  const reader = new FileReader();
  reader.onload = () => show(reader.result);
  reader.readAsDataURL(file);
}

function show(url) {
  picture = url.slice(url.indexOf(",") + 1);
  Object.assign($("shown"), { src: url, hidden: false, alt: "the picture that is asked about" });
}

function fill(record) {
  for (const [name, value] of Object.entries(record)) {
    if (name === model.pictures) { show(`data:image/png;base64,${value}`); continue; }
    const input = $("form").elements.namedItem(name);
    if (input) input.value = value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  }
}

function record() {
  const made = {};
  for (const [name, field] of Object.entries(properties())) {
    if (name === model.pictures) { made[name] = picture; continue; }
    const text = $("form").elements.namedItem(name).value;
    const kinds = types(field);
    if (text === "" && kinds.includes("null")) made[name] = null;
    else if (kinds.includes("array")) made[name] = JSON.parse(text);
    else if (kinds.includes("string")) made[name] = text;
    else made[name] = text === "" ? null : Number(text);
  }
  return made;
}

async function ask(event) {
  event.preventDefault();
  problem("");
  $("answer").replaceChildren();
  $("ask").disabled = true;
  try {
    const body = JSON.stringify(record());
    const answer = await fetch(`/v1/models/${model.name}:predict`,
      { method: "POST", body, headers: headers({ "content-type": "application/json" }) });
    const found = await answer.json();
    $("raw").textContent = `${body.slice(0, 2000)}\n\n${JSON.stringify(found, null, 1)}`;
    if (answer.ok) shown(found.predictions[0]);
    else problem(found.detail);
  } catch (error) {
    problem(error.message);
  }
  $("ask").disabled = false;
}

function shown(answer) {
  const parts = [];
  if ("prediction" in answer) parts.push(make("p", String(answer.prediction), { className: "value" }));
  else parts.push(make("pre", JSON.stringify(answer, null, 1)));
  const chances = Object.entries(answer.probabilities ?? {}).sort((a, b) => b[1] - a[1]).slice(0, 20);
  for (const [name, value] of chances) {
    const bar = make("div", "", { className: "bar" });
    bar.append(make("span", name), make("progress", "", { max: 1, value, title: name }),
      make("output", `${(100 * value).toFixed(1)} %`));
    parts.push(bar);
  }
  $("answer").replaceChildren(...parts);
}

function problem(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text;
}

function row(...cells) {
  const made = document.createElement("tr");
  made.append(...cells.map((cell) => make("td", String(cell ?? ""))));
  return made;
}

function describe() {
  const example = golden[0]?.record ?? {};
  const body = model.pictures ? "--data-binary @picture.jpg -H 'content-type: image/jpeg'"
    : `-H 'content-type: application/json' -d '${JSON.stringify(example).slice(0, 400).replaceAll("'", "'\\''")}'`;
  $("curl").textContent = `curl ${location.origin}/v1/models/${model.name}:predict \\\n  ${body}`;
  $("schema").replaceChildren(...Object.entries(properties()).map(
    ([name, field]) => row(name, types(field).join(", "), field.description)));
  $("limits").replaceChildren(...Object.entries(model.limits).map(([name, value]) => row(name, value)));
  $("rows").replaceChildren(...model.versions.map(
    (v) => row(v.version, v.state, (v.digest ?? "").slice(0, 12), v.reason)));
  $("drift").replaceChildren(...(model.drift ?? []).map(
    (d) => row(d.feature, d.psi?.toFixed(3), d.unseen === null ? "" : `${(100 * d.unseen).toFixed(1)} %`)));
}

$("model").addEventListener("change", choose);
$("golden").addEventListener("change", () => $("golden").value && fill(golden[Number($("golden").value)].record));
$("form").addEventListener("submit", ask);
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  $("token").value = "";
  begin();
});
begin();
