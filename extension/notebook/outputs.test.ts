import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_STREAM_BYTES, OutputReducer, errorOutput, mimeItems, type OutputOperation } from './outputs.ts';

const message = (type: string, content: unknown) => ({ header: { msg_type: type }, content });
const stream = (name: string, text: string) => message('stream', { name, text });
const display = (text: string, id?: string) =>
  message('display_data', {
    data: { 'text/plain': text },
    metadata: {},
    transient: id === undefined ? {} : { display_id: id },
  });

/** What a reader sees after all operations: one string per output. */
function shown(messages: { header: { msg_type: string }; content: unknown }[]): string[] {
  const reducer = new OutputReducer();
  const outputs: { mime: string; text: string }[] = [];
  for (const operation of messages.flatMap((each) => reducer.take(each))) apply(outputs, operation);
  return outputs.map(({ mime, text }) => `${mime.split('.').at(-1) ?? ''}: ${text}`);
}

function apply(outputs: { mime: string; text: string }[], operation: OutputOperation): void {
  const decode = (data?: Uint8Array) => new TextDecoder().decode(data);
  if (operation.type === 'clear') outputs.length = 0;
  if (operation.type === 'append') {
    const [item] = operation.output.items;
    outputs.push({ mime: item?.mime ?? '', text: decode(item?.data) });
  }
  if (operation.type === 'text') {
    const open = outputs.findLast(({ mime }) => mime.endsWith(operation.name));
    assert.ok(open, 'text needs an output to go to');
    open.text += operation.text;
  }
}

test('consecutive writes to one stream share an output, another stream or a display begins a new one', () => {
  assert.deepEqual(
    shown([
      stream('stdout', 'a'),
      stream('stdout', 'b'),
      stream('stderr', '!'),
      display('d'),
      stream('stdout', 'c'),
    ]),
    ['stdout: ab', 'stderr: !', 'text/plain: d', 'stdout: c'],
  );
});

test('clear_output clears at once, or with wait only when the next output comes', () => {
  assert.deepEqual(shown([stream('stdout', 'a'), message('clear_output', { wait: false })]), []);
  const waiting = [stream('stdout', 'a'), message('clear_output', { wait: true })];
  assert.deepEqual(shown(waiting), ['stdout: a']);
  assert.deepEqual(shown([...waiting, stream('stdout', 'b')]), ['stdout: b']);
});

test('alternating streams do not make thousands of outputs', () => {
  const messages = Array.from({ length: 5000 }, (_, index) => stream(index % 2 ? 'stderr' : 'stdout', 'x'));
  const outputs = shown(messages);
  assert.ok(outputs.length <= 101, `${outputs.length} outputs`);
  assert.equal(outputs.join('').replace(/std(out|err): /g, '').length, 5000);
});

test('a flood of text is cut with a word about it', () => {
  const outputs = shown(Array.from({ length: 30 }, () => stream('stdout', 'x'.repeat(100_000))));
  assert.equal(outputs.length, 1);
  assert.ok((outputs[0]?.length ?? 0) < MAX_STREAM_BYTES + 200);
  assert.ok(outputs[0]?.endsWith('is not shown: write it to a file\n'));
});

test('an update names its display and carries the new items', () => {
  const operations = new OutputReducer().take(
    message('update_display_data', { data: { 'text/plain': 'new' }, transient: { display_id: 'plot-1' } }),
  );
  assert.equal(operations.length, 1);
  assert.ok(operations[0]?.type === 'update' && operations[0].displayId === 'plot-1');
});

test('results and displays keep what the file format needs: type, count, metadata and display id', () => {
  const reducer = new OutputReducer();
  const [result] = reducer.take(
    message('execute_result', { data: { 'text/plain': '2' }, metadata: { a: 1 }, execution_count: 7 }),
  );
  assert.ok(result?.type === 'append');
  assert.deepEqual(result.output.metadata, {
    outputType: 'execute_result',
    executionCount: 7,
    metadata: { a: 1 },
  });
  const [shownDisplay] = reducer.take(display('d', 'plot-1'));
  assert.ok(shownDisplay?.type === 'append');
  assert.deepEqual(shownDisplay.output.metadata.transient, { display_id: 'plot-1' });
});

test('a MIME bundle keeps bytes, text and JSON as they are, the plot first and plain text last', () => {
  const items = mimeItems({
    'text/plain': 'curve',
    'image/png': Buffer.from([137, 80, 78, 71]).toString('base64'),
    'image/svg+xml': ['<svg>', '</svg>'],
    'application/vnd.gpt-lab.plot+json': { run: 'r' },
  });
  const decoded = items.map(({ mime, data }) =>
    mime === 'image/png' ? [mime, [...data]] : [mime, new TextDecoder().decode(data)],
  );
  assert.deepEqual(decoded, [
    ['application/vnd.gpt-lab.plot+json', '{"run":"r"}'],
    ['image/svg+xml', '<svg></svg>'],
    ['image/png', [137, 80, 78, 71]],
    ['text/plain', 'curve'],
  ]);
});

test('an error keeps its name, message and stack', () => {
  const output = errorOutput({
    ename: 'TypeError',
    evalue: 'x is 1',
    traceback: ['TypeError: x is 1', '  at cell 1:2:3'],
  });
  assert.deepEqual(JSON.parse(new TextDecoder().decode(output.items[0]?.data)), {
    name: 'TypeError',
    message: 'x is 1',
    stack: 'TypeError: x is 1\n  at cell 1:2:3',
  });
});
