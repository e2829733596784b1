import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compose, decode, encode } from './wire.ts';

const message = compose('session', 'execute_request', { code: '1 + 1 // é😀' });
const frames = (key: string): Buffer[] => encode(key, message).map((frame) => Buffer.from(frame));

test('a message survives the way there, with all identities and whatever buffers follow', () => {
  const identities = [Buffer.from('a'), Buffer.from([0, 255])];
  const received = decode('key', [...identities, ...frames('key'), Buffer.from('buffer')]);
  assert.deepEqual(received, { identities, ...message });
});

test('what is not signed with the key is refused before it is parsed', () => {
  assert.throws(() => decode('other', frames('key')), /wrong signature/);
  const [delimiter, signature, , ...rest] = frames('key');
  const forged = [delimiter, signature, Buffer.from('not json'), ...rest] as Buffer[];
  assert.throws(() => decode('key', forged), /wrong signature/);
  assert.deepEqual(decode('', frames('')).content, message.content);
});

test('malformed frames are refused', () => {
  assert.throws(() => decode('key', [Buffer.from('a')]), /without <IDS\|MSG>/);
  assert.throws(() => decode('key', frames('key').slice(0, 3)), /too few frames/);
  assert.throws(() => decode('', [...frames('').slice(0, 5), Buffer.from('[]')]), /expected record/i);
});
