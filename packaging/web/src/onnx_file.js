// The graph takes `origin`, the place of a tile, as an input that has an initial value. onnxruntime-web does not let such
// an input be given; without its initial value it is an ordinary one. ONNX is protobuf: fields of (number, kind), and
// those of kind 2 are (length, bytes).
const GRAPH = 7; // of ModelProto
const INITIALIZER = 5; // of GraphProto
const NAME = 8; // of TensorProto

/** The file without the initial value of one input. */
export function withoutInitialValue(bytes, input) {
  return rewritten(bytes, GRAPH, (graph) =>
    rewritten(graph, INITIALIZER, (tensor) => (nameOf(tensor) === input ? null : tensor)));
}

/** The message with every field of one number replaced, or left out where `change` returns null. */
function rewritten(bytes, number, change) {
  const parts = [];
  for (const field of fields(bytes)) {
    if (field.number !== number || field.kind !== 2) {
      parts.push(bytes.subarray(field.start, field.end));
      continue;
    }
    const value = change(bytes.subarray(field.valueAt, field.end));
    if (value) parts.push(varint((BigInt(number) << 3n) | 2n), varint(BigInt(value.length)), value);
  }
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function nameOf(tensor) {
  for (const field of fields(tensor)) {
    if (field.number === NAME) return new TextDecoder().decode(tensor.subarray(field.valueAt, field.end));
  }
  return '';
}

function* fields(bytes) {
  for (let at = 0; at < bytes.length;) {
    const start = at;
    const [key, afterKey] = readVarint(bytes, at);
    const [number, kind] = [Number(key >> 3n), Number(key & 7n)];
    let [valueAt, end] = [afterKey, afterKey];
    if (kind === 0) end = readVarint(bytes, afterKey)[1];
    else if (kind === 1) end += 8;
    else if (kind === 5) end += 4;
    else if (kind === 2) {
      const [length, afterLength] = readVarint(bytes, afterKey);
      valueAt = afterLength;
      end = valueAt + Number(length);
    } else throw new Error('The ONNX file is damaged: download the package again.');
    if (end > bytes.length) throw new Error('The ONNX file is damaged: download the package again.');
    yield { number, kind, start, valueAt, end };
    at = end;
  }
}

function readVarint(bytes, at) {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = bytes[at++];
    if (byte === undefined || shift > 63n) throw new Error('The ONNX file is damaged: download the package again.');
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [value, at];
  }
}

function varint(value) {
  const bytes = [];
  for (; value > 127n; value >>= 7n) bytes.push(Number(value & 127n) | 128);
  return Uint8Array.from([...bytes, Number(value)]);
}
