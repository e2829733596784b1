import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { CellOutput } from './cell-output.ts';

interface Published {
  request: string;
  name: string;
  text: string;
}

function collect(limits?: { shown: number; logged: number }): { output: CellOutput; published: Published[] } {
  const published: Published[] = [];
  const publish = (request: string, name: string, text: string): unknown =>
    published.push({ request, name, text });
  return { output: new CellOutput((...all) => void publish(...all), limits), published };
}

/** The file that a notice names, and what it holds; the file is removed. */
function fileOf(notice: string): string {
  const path = / is in (\S+)/.exec(notice)?.[1] ?? assert.fail(`No file is named: ${notice}`);
  const text = readFileSync(path, 'utf8');
  rmSync(dirname(path), { recursive: true });
  return text;
}

test('text of one stream is joined, that of another never overtakes it', () => {
  const { output, published } = collect();
  for (const text of ['a', 'b']) output.write('1', 'stdout', text);
  output.write('1', 'stderr', 'c');
  output.write('2', 'stderr', 'd');
  output.flush();
  assert.deepEqual(published, [
    { request: '1', name: 'stdout', text: 'ab' },
    { request: '1', name: 'stderr', text: 'c' },
    { request: '2', name: 'stderr', text: 'd' },
  ]);
});

test('text is published without being asked for', async () => {
  await new Promise<void>((resolve) => new CellOutput(() => resolve()).write('1', 'stdout', 'a'));
});

test('beyond the limit a cell shows where all of its output is', () => {
  const { output, published } = collect({ shown: 10, logged: 1e9 });
  for (const text of ['12345', '67890', 'abc', 'def']) {
    output.write('1', 'stdout', text);
    output.flush();
  }
  output.write('2', 'stdout', 'another cell');
  output.flush();
  const [first, second, notice = { text: '' }, other, ...more] = published.map(({ text }) => ({ text }));
  assert.deepEqual([first?.text, second?.text, more], ['12345', '67890', []]);
  assert.match(notice.text, /^\n… truncated: a cell shows 0.00001 MB of text. The full output is in /);
  assert.match(other?.text ?? '', /^another ce\n… truncated/);
  assert.equal(fileOf(notice.text), '1234567890abcdef');
});

test('what a cell prints after its end goes on where it was, and only the rest to a file', () => {
  const { output, published } = collect({ shown: 10, logged: 1e9 });
  output.write('1', 'stdout', '12345678');
  output.flush();
  output.end('1');
  output.write('1', 'stdout', '90abc');
  output.flush();
  const notice = String(published[1]?.text);
  assert.match(notice, /^90\n… truncated/);
  assert.equal(fileOf(notice), 'abc');
});

test('the file has a limit too', () => {
  const { output, published } = collect({ shown: 1, logged: 4 });
  for (const text of ['ab', 'cde', 'f']) {
    output.write('1', 'stdout', text);
    output.flush();
  }
  const [notice] = published;
  assert.match(fileOf(String(notice?.text)), /^abcde\n… this file ends here/);
});
