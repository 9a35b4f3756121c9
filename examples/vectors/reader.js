// A GRU of your own, held to vectors:
//   gatewise vectors export --cell gru --dtype float32 -o v && node reader.js v/vectors.json
'use strict';
const fs = require('fs');

const sigmoid = (a) => 1 / (1 + Math.exp(-a));

// One step of one row: gates r, z, n; W (3, D, H), U (3, H, H), b (3, H), and b_hn (H).
function gru(x, h, W, U, b, b_hn) {
  const D = x.length, H = h.length;
  const input = (k, u) => x.reduce((sum, v, d) => sum + v * W[(k * D + d) * H + u], b[k * H + u]);
  const recurrent = (k, u) => h.reduce((sum, v, j) => sum + v * U[(k * H + j) * H + u], 0);
  return h.map((old, u) => {
    const r = sigmoid(input(0, u) + recurrent(0, u));
    const z = sigmoid(input(1, u) + recurrent(1, u));
    const n = Math.tanh(input(2, u) + r * (recurrent(2, u) + b_hn[u]));
    return z * old + (1 - z) * n;
  });
}

// The rest needs no change for a layer of your own.
function number(text) { // hexadecimal, as C writes it: 0x1.8p-3
  const parts = /^(-?)0x([0-9a-f]+)\.?([0-9a-f]*)p([+-]\d+)$/.exec(text);
  if (!parts) return text.endsWith('inf') ? (text[0] === '-' ? -Infinity : Infinity) : Number(text);
  const [, sign, whole, fraction, exponent] = parts;
  return (sign ? -1 : 1) * parseInt(whole + fraction, 16) * 2 ** (exponent - 4 * fraction.length);
}

// One pass: all rows of x (T, B, D), forwards or backwards; y (T, B, H) and the last state (B, H).
function pass(t, D, x, h, lengths, backwards, weights) {
  const y = Array(t.T * t.B * t.H).fill(0), last = [];
  for (let row = 0; row < t.B; row++) {
    const steps = lengths ? lengths[row] : t.T;
    let state = h.slice(row * t.H, (row + 1) * t.H);
    for (let s = 0; s < steps; s++) {
      const at = (backwards ? steps - 1 - s : s) * t.B + row;
      state = gru(x.slice(at * D, (at + 1) * D), state, ...weights);
      state.forEach((v, u) => { y[at * t.H + u] = v; });
    }
    last.push(...state);
  }
  return [y, last];
}

function run(t) {
  const given = (name) => t.given[name] && t.given[name].values.map(number);
  const directions = t.bidirectional ? ['', '_reverse'] : [''], size = t.B * t.H;
  const h0 = given('initial h') || Array(t.layers * directions.length * size).fill(0), final = [];
  let y = given('x');
  for (let layer = 0; layer < t.layers; layer++) {
    const outputs = directions.map((direction, k) => {
      const weights = ['W', 'U', 'b', 'b_hn'].map((name) => given(`${name}_l${layer}${direction}`));
      const place = (layer * directions.length + k) * size, width = layer ? directions.length * t.H : t.D;
      const [out, last] = pass(t, width, y, h0.slice(place, place + size), given('lengths'), k, weights);
      final.push(...last);
      return out;
    });
    y = []; // directions side by side
    for (let at = 0; at < t.T * t.B; at++) outputs.forEach((o) => y.push(...o.slice(at * t.H, (at + 1) * t.H)));
  }
  return { y, 'final h': final };
}

const vectors = JSON.parse(fs.readFileSync(process.argv[2], 'utf8')), failed = new Set();
for (const t of vectors.tests) {
  for (const [name, got] of Object.entries(run(t))) {
    const { values, bounds } = t.expected[name];
    const k = values.findIndex((v, e) => !(Math.abs(got[e] - number(v)) <= number(bounds[e])));
    if (k >= 0) console.log(`test ${t.id}: ${name}, entry ${k} is ${got[k]}, expected ${number(values[k])} (${t.comment})`);
    if (k >= 0) failed.add(t.id);
  }
}
for (const [id, note] of failed.size ? Object.entries(vectors.notes) : []) {
  const same = vectors.tests.every((t) => t.outputs_catch.includes(id) === failed.has(t.id));
  if (same) console.log(`it fails as this mistake does: ${note.mistake}`);
}
console.log(`${vectors.tests.length} tests, ${failed.size ? 'some failed' : 'all passed'}`);
process.exit(failed.size ? 1 : 0);
