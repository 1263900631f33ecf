// The page draws, sends each new state to the server, and shows the probabilities that it answers.

const find = (selector, parent = document) => parent.querySelector(selector);
const copy = (template) => find(`#${template}`).content.firstElementChild.cloneNode(true);
const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1 });

const canvas = find("canvas");
const pen = canvas.getContext("2d", { alpha: false });
pen.strokeStyle = "white";
pen.lineWidth = canvas.width / 15;
pen.lineCap = pen.lineJoin = "round";

let classes = [];
let cards = [];
const ready = request("models").then(({ classes: names = [], models = [], error }) => {
  classes = names;
  cards = models.map(makeCard);
  find("#others").hidden = cards.length < 2;
  show({ error });
});

// The states of the board, for Undo. A state has strokes, or a picture file and, if the browser can show it, its image.
const states = [{ strokes: [] }];
let stroke = null;
let isAsking = false;
let hasChanged = false;

const current = () => states.at(-1);
const isBlank = ({ strokes, file }) => !file && !strokes.length;

function change(state) {
  states.push(state);
  update();
}

function undo() {
  if (states.length > 1) states.pop();
  update();
}

function clear() {
  if (!isBlank(current())) change({ strokes: [] });
}

async function open(file) {
  if (file) change({ file, image: await createImageBitmap(file).catch(() => null) });
}

function update() {
  const { strokes = [], image } = current();
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (image) {
    const scale = Math.min(canvas.width / image.width, canvas.height / image.height);
    const [width, height] = [scale * image.width, scale * image.height];
    pen.drawImage(image, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
  }
  for (const path of strokes) pen.stroke(path);
  find("#hint").hidden = !isBlank(current());
  ask();
}

// One request at a time. The next one sends the newest state, and an answer for an older state is not shown.
async function ask() {
  hasChanged = true;
  if (isAsking) return;
  isAsking = true;
  await ready; // a picture may be drawn or chosen before the models are known
  while (hasChanged) {
    hasChanged = false;
    const state = current();
    const result = isBlank(state) ? {} : await send(state);
    if (state === current()) show(result);
  }
  isAsking = false;
}

async function send({ file }) {
  const body = file ?? (await new Promise((resolve) => canvas.toBlob(resolve)));
  return request("picture", { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body });
}

async function request(path, options) {
  try {
    const response = await fetch(path, options);
    const answer = await response.json();
    return response.ok ? answer : { error: answer.detail };
  } catch (error) {
    return { error: `The server does not answer (${error.message}).` };
  }
}

function show({ image = "", models = [], error = "" }) {
  find("#seen").src = image;
  find("#seen").hidden = !image;
  find("#error").textContent = error;
  const tops = models.map(({ probabilities: p }) => classes.reduce((a, b) => (p[b] > p[a] ? b : a)));
  for (const [number, card] of cards.entries()) {
    const [top, { probabilities, sure } = {}] = [tops[number], models[number]];
    const shown = sure === false ? "not sure" : (top ?? "?");
    const answer = find(".answer", card);
    answer.classList.toggle("empty", !top);
    answer.classList.toggle("unsure", sure === false);
    answer.classList.toggle("differs", top !== tops[0]);
    find("b", answer).textContent = shown;
    find("b", answer).style.setProperty("--letters", shown.length); // decides the size
    const confidence = top ? percent.format(probabilities[top]) : "";
    find("span", answer).textContent = sure === false ? `${top}: ${confidence}` : confidence;
    for (const [index, row] of card.querySelectorAll("li").entries()) {
      const probability = probabilities?.[classes[index]];
      row.classList.toggle("top", classes[index] === top);
      find("meter", row).value = probability ?? 0;
      find(".probability", row).textContent = probabilities ? percent.format(probability) : "";
    }
  }
}

function makeCard({ name, champion }) {
  const card = copy("run");
  find("h3", card).textContent = name;
  if (champion) find(".answer", card).role = "status"; // screen readers announce it
  for (const label of classes) {
    const row = copy("class");
    find("label span", row).textContent = label;
    find("ul", card).append(row);
  }
  find(champion ? "#champion" : "#others div").append(card);
  return card;
}

const place = ({ clientX, clientY }) => {
  const { left, top, width } = canvas.getBoundingClientRect();
  return [((clientX - left) * canvas.width) / width, ((clientY - top) * canvas.width) / width];
};

canvas.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button) return;
  canvas.setPointerCapture(event.pointerId);
  const [x, y] = place(event);
  stroke = new Path2D();
  stroke.moveTo(x, y);
  stroke.lineTo(x + 0.1, y); // a dot
  change({ strokes: [...(current().strokes ?? []), stroke] });
});
canvas.addEventListener("pointermove", (event) => {
  if (!stroke || !event.isPrimary) return;
  for (const point of event.getCoalescedEvents()) stroke.lineTo(...place(point));
  update();
});
canvas.addEventListener("lostpointercapture", () => (stroke = null));

find("#undo").addEventListener("click", undo);
find("#clear").addEventListener("click", clear);
find("#file").addEventListener("change", ({ target }) => {
  open(target.files[0]);
  target.value = ""; // the same file can be chosen again
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clear();
  else if ((event.ctrlKey || event.metaKey) && event.key === "z") undo();
});
document.addEventListener("paste", (event) => open(event.clipboardData.files[0]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  find("#board").classList.add("target");
});
for (const type of ["dragleave", "drop"]) {
  document.addEventListener(type, () => find("#board").classList.remove("target"));
}
document.addEventListener("drop", (event) => {
  event.preventDefault();
  open(event.dataTransfer.files[0]);
});
