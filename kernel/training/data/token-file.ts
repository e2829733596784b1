/**
 * Token files: the cache of a tokenised text. Layout, little-endian: "GPTLABTK", u32 version, u32 bytes per token
 * (2 or 4), f64 number of tokens, 32 bytes SHA-256 of what follows, then the tokens.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

export type Tokens = Uint16Array | Uint32Array;

const MAGIC = 'GPTLABTK';
const VERSION = 1;
const HEADER = 8 + 4 + 4 + 8 + 32;

/** Writes a token file aside and renames it, so that readers find all of it or nothing. */
export async function writeTokenFile(path: string, tokens: Tokens): Promise<void> {
  const payload = Buffer.from(tokens.buffer, tokens.byteOffset, tokens.byteLength);
  const header = Buffer.alloc(HEADER);
  header.write(MAGIC, 0, 'latin1');
  header.writeUInt32LE(VERSION, 8);
  header.writeUInt32LE(tokens.BYTES_PER_ELEMENT, 12);
  header.writeDoubleLE(tokens.length, 16);
  createHash('sha256').update(payload).digest().copy(header, 24);
  await mkdir(dirname(path), { recursive: true });
  const aside = `${path}.${randomUUID()}`;
  try {
    await writeFile(aside, Buffer.concat([header, payload]));
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
}

/** The tokens of a file; undefined when there is none. Throws an Error when it is damaged. */
export async function readTokenFile(path: string): Promise<Tokens | undefined> {
  const file = await readFile(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
  if (file === undefined) return undefined;
  const payload = file.subarray(HEADER);
  const width = file.length >= HEADER ? file.readUInt32LE(12) : 0;
  const sound =
    file.subarray(0, 8).toString('latin1') === MAGIC &&
    file.readUInt32LE(8) === VERSION &&
    payload.length === file.readDoubleLE(16) * width &&
    createHash('sha256').update(payload).digest().equals(file.subarray(24, HEADER));
  if (!sound) throw new Error(`The token cache ${path} is damaged`);
  const bytes = new Uint8Array(payload).buffer;
  return width === 2 ? new Uint16Array(bytes) : new Uint32Array(bytes);
}
