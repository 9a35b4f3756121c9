// A GRU in JavaScript with its gradients, held by gatewise as: gatewise verify 'process:node gru.js'
//
// It answers lines of JSON. Arrays come as base64 of their bytes; the weights are those of the
// equations: W (3, D, H), U (3, H, H), b (3, H), gates in the order r z n.

const readline = require("node:readline");

const sigmoid = (v) => 1 / (1 + Math.exp(-v));

function read(array, size) {
  if (!array) return new Float64Array(size);
  const bytes = Buffer.from(array.data, "base64");
  return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

function write(values, shape) {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return { dtype: "float64", shape, data: bytes.toString("base64") };
}

// z = σ(x W_z + h U_z + b_z), r likewise, n = tanh(x W_n + (r * h) U_n + b_n), h' = z h + (1 - z) n
function call({ id, B, T, D, H, arrays, gradients }) {
  const x = read(arrays.x, T * B * D);
  const [W, U, b] = [read(arrays.W, 3 * D * H), read(arrays.U, 3 * H * H), read(arrays.b, 3 * H)];
  const h = read(arrays.h0, B * H).slice();
  const y = new Float64Array(T * B * H);
  const kept = []; // what each step of each row read and computed, for the way back

  const affine = (gate, unit, xs, hs) => {
    let sum = b[gate * H + unit];
    for (let d = 0; d < D; d++) sum += xs[d] * W[(gate * D + d) * H + unit];
    for (let j = 0; j < H; j++) sum += hs[j] * U[(gate * H + j) * H + unit];
    return sum;
  };
  const units = Array.from({ length: H }, (_, u) => u);

  for (let t = 0; t < T; t++)
    for (let row = 0; row < B; row++) {
      const xs = x.subarray((t * B + row) * D, (t * B + row + 1) * D);
      const old = h.slice(row * H, (row + 1) * H);
      const z = units.map((u) => sigmoid(affine(1, u, xs, old)));
      const r = units.map((u) => sigmoid(affine(0, u, xs, old)));
      const reset = units.map((u) => r[u] * old[u]);
      const n = units.map((u) => Math.tanh(affine(2, u, xs, reset)));
      units.forEach((u) => (h[row * H + u] = z[u] * old[u] + (1 - z[u]) * n[u]));
      y.set(h.subarray(row * H, (row + 1) * H), (t * B + row) * H);
      kept.push({ t, row, xs, old, z, r, reset, n });
    }
  const answer = { y: write(y, [T, B, H]), h: write(h, [B, H]) };
  if (!gradients) return { id, arrays: answer };

  const dy = read(arrays.dy, T * B * H);
  const dh = read(arrays.dh, B * H).slice();
  const dx = new Float64Array(T * B * D);
  const [dW, dU, db] = [W, U, b].map((array) => new Float64Array(array.length));
  for (const { t, row, xs, old, z, r, reset, n } of kept.reverse()) {
    const arriving = units.map((u) => dh[row * H + u] + dy[(t * B + row) * H + u]);
    const before = units.map((u) => arriving[u] * z[u]);
    const back = (gate, da, read) => {
      const dread = new Float64Array(H);
      units.forEach((u) => {
        db[gate * H + u] += da[u];
        for (let d = 0; d < D; d++) {
          dW[(gate * D + d) * H + u] += xs[d] * da[u];
          dx[(t * B + row) * D + d] += W[(gate * D + d) * H + u] * da[u];
        }
        for (let j = 0; j < H; j++) {
          dU[(gate * H + j) * H + u] += read[j] * da[u];
          dread[j] += U[(gate * H + j) * H + u] * da[u];
        }
      });
      return dread;
    };
    const dreset = back(2, units.map((u) => arriving[u] * (1 - z[u]) * (1 - n[u] * n[u])), reset);
    const dz = units.map((u) => arriving[u] * (old[u] - n[u]) * z[u] * (1 - z[u]));
    const dr = units.map((u) => dreset[u] * old[u] * r[u] * (1 - r[u]));
    const [byUpdate, byReset] = [back(1, dz, old), back(0, dr, old)];
    units.forEach((u) => (dh[row * H + u] = before[u] + dreset[u] * r[u] + byUpdate[u] + byReset[u]));
  }
  Object.assign(answer, {
    dx: write(dx, [T, B, D]), dh0: write(dh, [B, H]),
    dW: write(dW, [3, D, H]), dU: write(dU, [3, H, H]), db: write(db, [3, H]),
  });
  return { id, arrays: answer };
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const question = JSON.parse(line);
  const answer =
    question.do === "start"
      ? { protocol: 1, implementation: "gru.js", language: "JavaScript", cell: "gru-keeps-old", gradients: true }
      : call(question);
  process.stdout.write(JSON.stringify(answer) + "\n");
});
