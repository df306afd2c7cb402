"use strict";
// Classifies a picture in this browser: resized and cropped as Pillow does it, normalized by the network itself.

const element = (id) => document.getElementById(id);
const FILTERS = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    at: (x) => {
      const a = -0.5, t = Math.abs(x);
      if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
      return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
    },
  },
};

// Of a line of `length` pixels resized to `size`: for `count` pixels from `start` on, the first pixel that each reads, and
// the weights.
function weightsOf(length, size, filter, start, count) {
  const scale = length / size, wide = Math.max(scale, 1), support = filter.support * wide;
  return Array.from({ length: count }, (_, i) => {
    const center = (start + i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(length, Math.trunc(center + support + 0.5));
    const weights = Array.from({ length: end - first }, (_, j) => filter.at((first + j - center + 0.5) / wide));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => w / sum) };
  });
}

// One pass along a line: `step` is the distance of its pixels, `across` that of the lines, both in bytes.
function resizeLines(from, to, lines, across, step, toAcross, toStep, table) {
  for (let line = 0; line < lines; line++) {
    table.forEach(({ first, weights }, i) => {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let j = 0; j < weights.length; j++) sum += weights[j] * from[line * across + (first + j) * step + c];
        to[line * toAcross + i * toStep + c] = Math.max(0, Math.min(255, Math.floor(sum + 0.5)));
      }
    });
  }
}

// RGBA pixels of any size -> RGB of the window of `wide` x `high` pixels at (left, top) of the image resized to
// width x height, antialiased. No more than the window is computed: a strip would be millions of pixels long.
function resizedWindow(image, width, height, left, top, wide, high, kind) {
  const filter = FILTERS[kind];
  const columns = weightsOf(image.width, width, filter, left, wide), rows = weightsOf(image.height, height, filter, top, high);
  const first = rows[0].first, last = rows[high - 1].first + rows[high - 1].weights.length;
  for (const row of rows) row.first -= first;
  const narrow = new Uint8Array((last - first) * wide * 3), result = new Uint8Array(high * wide * 3);
  const read = image.data.subarray(first * image.width * 4);
  resizeLines(read, narrow, last - first, image.width * 4, 4, wide * 3, 3, columns);
  resizeLines(narrow, result, wide, 3, wide * 3, 3, wide * 3, rows);
  return result;
}

// Python's rounding, halves to the even number.
const rounded = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

function cropped(image, facts) {
  const size = facts.image_size, short = facts.resize;
  let width = short, height = short;
  if (image.height <= image.width) width = Math.trunc((short * image.width) / image.height);
  else height = Math.trunc((short * image.height) / image.width);
  const left = rounded(Math.max(0, width - size) / 2), top = rounded(Math.max(0, height - size) / 2);
  const above = Math.max(0, Math.floor((size - height) / 2)), before = Math.max(0, Math.floor((size - width) / 2));
  const wide = Math.min(size, width), high = Math.min(size, height);
  const pixels = resizedWindow(image, width, height, left, top, wide, high, facts.interpolation);
  const crop = new Uint8Array(size * size * 3);
  for (let y = 0; y < high; y++) {
    crop.set(pixels.subarray(y * wide * 3, (y + 1) * wide * 3), ((above + y) * size + before) * 3);
  }
  return crop;
}

async function pixelsOf(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

function isTransparent(data) {
  for (let i = 3; i < data.length; i += 4) if (data[i] < 255) return true;
  return false;
}

async function classify(file, session, facts) {
  const size = facts.image_size;
  const pixels = await pixelsOf(file);
  const crop = cropped(pixels, facts);
  const { logits } = await session.run({ image: new ort.Tensor("uint8", crop, [1, size, size, 3]) });
  const highest = Math.max(...logits.data);
  const exponentials = Array.from(logits.data, (x) => Math.exp(x - highest));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  const classes = exponentials
    .map((e, k) => ({ name: (facts.class_names ?? [])[k] ?? `class ${k}`, probability: e / sum }))
    .sort((a, b) => b.probability - a.probability);
  return { crop, classes, transparent: isTransparent(pixels.data) };
}

function show(file, { crop, classes }, size) {
  const canvas = element("seen");
  canvas.width = canvas.height = size;
  const seen = new ImageData(size, size);
  for (let i = 0; i < size * size; i++) seen.data.set([crop[3 * i], crop[3 * i + 1], crop[3 * i + 2], 255], 4 * i);
  canvas.getContext("2d").putImageData(seen, 0, 0);
  element("name").textContent = `${file.name}, as the network sees it`;
  element("classes").replaceChildren(
    ...classes.slice(0, 5).map(({ name, probability }) => {
      const row = document.createElement("tr");
      row.innerHTML = '<td class="name"></td><td class="p"></td><td class="bar"><div></div></td>';
      row.children[0].textContent = name;
      row.children[1].textContent = `${(100 * probability).toFixed(2)} %`;
      row.children[2].firstChild.style.width = `${100 * probability}%`;
      return row;
    }),
  );
  element("result").hidden = false;
}

async function main() {
  ort.env.wasm.wasmPaths = new URL("onnxruntime/", location.href).href;
  ort.env.wasm.numThreads = 1; // more need headers that plain servers do not send
  const stored = await (await fetch("network.json")).json();
  const facts = Object.fromEntries(
    Object.entries(stored).map(([name, value]) => {
      try { return [name, JSON.parse(value)]; } catch { return [name, value]; }
    }),
  );
  const session = await ort.InferenceSession.create("network.onnx", { executionProviders: ["wasm"] });
  element("about").textContent = `${facts.model}, ${facts.class_names?.length ?? "unnamed"} classes`;
  let last = Promise.resolve();
  const take = (file) => {
    last = last.then(async () => {
      element("message").textContent = "";
      try {
        const found = await classify(file, session, facts);
        show(file, found, facts.image_size);
        if (found.transparent) {
          element("message").textContent = `${file.name}: browsers read transparent pixels as black, and translucent ones less exactly; save it without transparency`;
        }
      } catch (error) {
        element("result").hidden = true;
        element("message").textContent = `${file.name}: cannot be classified (${error.message})`;
      }
    });
  };
  const drop = element("drop");
  element("file").addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
  }
}

main().catch((error) => {
  element("about").textContent = "";
  element("message").textContent = `The network could not be loaded (${error.message}). Open this page through a server: python -m http.server`;
});
