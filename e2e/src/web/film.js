// Makes a film: VP8 in WebM, of noise, so that it is long in bytes, with its index (Cues) before the pictures, as players
// like it. Calls `done` with it in base64. WebM: RFC 8794 and RFC 9559.
const [seconds, rate, bits, done] = arguments;
const [width, height] = [320, 240];

const bytes = (...parts) => {
  const all = parts.map((part) => (typeof part === "string" ? new TextEncoder().encode(part) : Uint8Array.from(part)));
  const joined = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  all.reduce((at, part) => (joined.set(part, at), at + part.length), 0);
  return joined;
};
// All of eight bytes, so that lengths are known before values are.
const number = (value) => new Uint8Array(new BigUint64Array([BigInt(value)]).buffer).reverse();
const real = (value) => new Uint8Array(new Float64Array([value]).buffer).reverse();
const element = (id, ...parts) => {
  const payload = bytes(...parts);
  const size = number(payload.length);
  size[0] = 0x01;
  return bytes(id, size, payload);
};

const film = async () => {
  const frames = [];
  let failed = null;
  const encoder = new VideoEncoder({
    output: (chunk) => {
      const data = new Uint8Array(chunk.byteLength);
      chunk.copyTo(data);
      frames.push({ data, time: Math.round(chunk.timestamp / 1000), key: chunk.type === "key" });
    },
    error: (error) => (failed = error),
  });
  encoder.configure({ codec: "vp8", width, height, bitrate: bits, framerate: rate, latencyMode: "realtime" });
  const pixels = new Uint32Array(width * height);
  let seed = 1;
  for (let index = 0; index < seconds * rate; index += 1) {
    for (let at = 0; at < pixels.length; at += 1) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      pixels[at] = seed | 0xff000000;
    }
    const timestamp = (index * 1e6) / rate;
    const frame = new VideoFrame(pixels, { format: "RGBA", codedWidth: width, codedHeight: height, timestamp });
    encoder.encode(frame, { keyFrame: index % rate === 0 });
    frame.close();
    while (encoder.encodeQueueSize > 4) await new Promise((resolve) => encoder.addEventListener("dequeue", resolve, { once: true }));
  }
  await encoder.flush();
  if (failed) throw failed;

  const clusters = [];
  for (const { data, time, key } of frames) {
    if (key) clusters.push({ time, blocks: [] });
    const { time: start, blocks } = clusters.at(-1);
    blocks.push(element([0xa3], [0x81, (time - start) >> 8, (time - start) & 255, key ? 0x80 : 0], data));
  }
  const packed = clusters.map(({ time, blocks }) => element([0x1f, 0x43, 0xb6, 0x75], element([0xe7], number(time)), ...blocks));
  const info = element(
    [0x15, 0x49, 0xa9, 0x66],
    element([0x2a, 0xd7, 0xb1], number(1e6)),
    element([0x44, 0x89], real(seconds * 1000)),
    element([0x4d, 0x80], "film.js"),
    element([0x57, 0x41], "film.js"),
  );
  const video = element([0xe0], element([0xb0], number(width)), element([0xba], number(height)));
  const track = [element([0xd7], number(1)), element([0x73, 0xc5], number(1)), element([0x83], number(1)), element([0x86], "V_VP8")];
  const tracks = element([0x16, 0x54, 0xae, 0x6b], element([0xae], ...track, video));
  const cues = (start) => {
    let at = start;
    const points = clusters.map(({ time }, index) => {
      const place = element([0xb7], element([0xf7], number(1)), element([0xf1], number(at)));
      at += packed[index].length;
      return element([0xbb], element([0xb3], number(time)), place);
    });
    return element([0x1c, 0x53, 0xbb, 0x6b], ...points);
  };
  const before = info.length + tracks.length;
  const index = cues(before + cues(0).length);
  const head = element([0x1a, 0x45, 0xdf, 0xa3], element([0x42, 0x82], "webm"), element([0x42, 0x87], number(4)), element([0x42, 0x85], number(2)));
  return new Blob([head, element([0x18, 0x53, 0x80, 0x67], info, tracks, index, ...packed)]);
};

film().then(
  (blob) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.split(",")[1]);
    reader.readAsDataURL(blob);
  },
  (error) => done({ error: String(error) }),
);
