/**
 * The safetensors format (Hugging Face): u64 length of a JSON header, the header with type, shape and byte range of
 * each tensor, then the raw little-endian data. Only F32 is written and read here.
 */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

/** Bytes that are hashed and written at a time. */
const PORTION = 4 << 20;

/** A tensor on its way to or from a file. */
export interface NamedTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

interface HeaderEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** Size and checksum of a written file. */
export interface FileSummary {
  readonly bytes: number;
  readonly sha256: string;
}

/** Writes tensors one after another, so that no more than one is in memory, and syncs the file to the disk. */
export async function writeSafetensors<T extends NamedTensor>(
  path: string,
  tensors: readonly T[],
  values: (tensor: T) => Promise<Float32Array>,
): Promise<FileSummary> {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const { name, shape } of tensors) {
    const bytes = 4 * shape.reduce((a, b) => a * b, 1);
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  // Padded with spaces so that the data starts at a multiple of 8.
  const json = Buffer.from(JSON.stringify(header));
  const text = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const hash = createHash('sha256');
  const file = await open(path, 'w');
  try {
    const write = async (part: Uint8Array): Promise<void> => {
      // In portions, between which whatever else this thread does goes on.
      for (let from = 0; from < part.length; from += PORTION) {
        const portion = part.subarray(from, from + PORTION);
        hash.update(portion);
        await file.writeFile(portion);
      }
    };
    await write(length);
    await write(text);
    for (const tensor of tensors) {
      const data = await values(tensor);
      await write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { bytes: 8 + text.length + offset, sha256: hash.digest('hex') };
}

/**
 * Reads a file tensor by tensor, in the file's order. Throws an Error naming the file when it is not safetensors,
 * is cut short, or holds another type than F32; `take` gets each tensor's values. Where `wanted` says of the names and shapes
 * that they are not, the rest of the file is left unread and undefined is returned.
 */
export async function readSafetensors(
  path: string,
  take: (tensor: NamedTensor, values: Float32Array) => void,
  wanted: (tensors: readonly NamedTensor[]) => boolean = () => true,
): Promise<FileSummary | undefined> {
  const file = await open(path, 'r');
  const hash = createHash('sha256');
  try {
    const read = async (bytes: number): Promise<Buffer> => {
      const buffer = Buffer.alloc(bytes);
      let filled = 0;
      while (filled < bytes) {
        const { bytesRead } = await file.read(buffer, filled, bytes - filled);
        if (bytesRead === 0) throw new Error(`${path} is damaged: it ends after ${filled} of ${bytes} bytes`);
        filled += bytesRead;
      }
      hash.update(buffer);
      return buffer;
    };
    const { size } = await file.stat();
    const length = Number((await read(8)).readBigUInt64LE());
    if (length > size)
      throw new Error(`${path} is not a safetensors file: its header would be ${length} bytes`);
    const header = JSON.parse((await read(length)).toString()) as Record<string, HeaderEntry>;
    delete header['__metadata__'];
    const entries = Object.entries(header).sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0]);
    if (!wanted(entries.map(([name, { shape }]) => ({ name, shape })))) return undefined;
    let bytes = 8 + length;
    for (const [name, { dtype, shape, data_offsets: range }] of entries) {
      if (dtype !== 'F32') throw new Error(`${path} holds ${name} as ${dtype}: allowed is F32`);
      const data = await read(range[1] - range[0]);
      bytes += data.length;
      // Copied: a Buffer may start at an address that is no multiple of 4.
      take({ name, shape }, new Float32Array(new Uint8Array(data).buffer));
    }
    return { bytes, sha256: hash.digest('hex') };
  } finally {
    await file.close();
  }
}
