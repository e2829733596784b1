import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useKernel } from './running-kernel.ts';

const kernel = useKernel();

test('completion and inspection know the cells that were run; positions are in UTF-16 here, in code points outside', async () => {
  await kernel.run("/** A cat. */\nconst cat = { whiskers: '🐈' };");
  const { matches, cursor_start, cursor_end, metadata } = await kernel.client.complete(
    "'🐈🐈'; cat.whis",
    16,
  );
  assert.deepEqual([matches, cursor_start, cursor_end], [['whiskers'], 12, 16]);
  assert.deepEqual(metadata['_jupyter_types_experimental'], [
    { text: 'whiskers', type: 'property', start: 10, end: 14 },
  ]);
  const { found, data } = await kernel.client.inspect('cat', 1);
  assert.equal(found, true);
  assert.equal(data['text/plain'], 'const cat: {\n    whiskers: string;\n}\n\nA cat.');
  assert.match(String(data['text/markdown']), /^```typescript\nconst cat: .*```\n\nA cat\.$/s);
});

test('where types say nothing, the values that there are do, unless looking at them would do something', async () => {
  await kernel.run(
    'const parsed = JSON.parse(\'{ "deep": { "deeper": 1, "not-a-name": 2 } }\');\nlet looked = 0;\nconst guarded: any = { get trap() { return { looked: ++looked }; } };',
  );
  assert.deepEqual((await kernel.client.complete('parsed.', 7)).matches, ['deep']);
  assert.deepEqual((await kernel.client.complete('parsed.deep.de', 14)).matches, ['deeper']);
  assert.deepEqual((await kernel.client.complete('guarded.trap.', 13)).matches, []);
  assert.equal((await kernel.run('looked')).result, '0');
});

test('cells that were not run are known when the client tells them', async () => {
  const earlier = ['const notRun = { yet: 1 };', 'function twice(n: number) { return 2 * n; }'];
  assert.deepEqual((await kernel.client.complete('notRun.', 7, earlier)).matches, ['yet']);
  const help = await kernel.client.signatures('twice(', 6, earlier);
  assert.equal(help?.signatures[0]?.label, 'twice(n: number): number');
  const [fine, wrong] = await kernel.client.diagnose(['const a: number = 1;', 'a.missing']);
  assert.deepEqual([fine?.length, wrong?.[0]?.code], [0, 2339]);
});

test('questions are answered while a cell runs', async () => {
  let began: () => void = () => undefined;
  const running = new Promise<void>((resolve) => (began = resolve));
  const cell = kernel.run('await new Promise(() => {});', { onMessage: () => began() });
  await running;
  assert.deepEqual((await kernel.client.complete('cat.w', 5)).matches, ['whiskers']);
  await kernel.client.interrupt();
  assert.equal((await cell).reply.ename, 'Interrupted');
});

test('names are forgotten with the process that held them', async () => {
  await kernel.run('process.exit(1)');
  assert.deepEqual((await kernel.client.complete('cat.w', 5)).matches, []);
});

test('a cell asks the user, also for a password and for yes or no', async () => {
  const asked: unknown[] = [];
  const answers = ['Ada', 'secret', 'YES', 'nope'];
  const { result } = await kernel.run(
    "[await prompt('Name?'), await prompt('Key?', { password: true }), await confirm('Sure?'), await confirm()].join()",
    {
      onInput: (question) => {
        asked.push(question);
        return Promise.resolve(answers[asked.length - 1]);
      },
    },
  );
  assert.equal(result, "'Ada,secret,true,false'");
  assert.deepEqual(asked.slice(0, 3), [
    { prompt: 'Name?', password: false },
    { prompt: 'Key?', password: true },
    { prompt: 'Sure? [y/n] ', password: false },
  ]);
});

test('two questions at once are asked one after the other', async () => {
  let open = 0;
  const { result } = await kernel.run("(await Promise.all([prompt('a'), prompt('b')])).join()", {
    onInput: async ({ prompt }) => {
      assert.equal(++open, 1);
      await new Promise((resolve) => setImmediate(resolve));
      open--;
      return prompt.toUpperCase();
    },
  });
  assert.equal(result, "'A,B'");
});

test('where nobody can be asked, the cell is told so', async () => {
  const { reply } = await kernel.run("await prompt('Name?')");
  assert.equal(reply.ename, 'NoInput');
  assert.match(
    reply.evalue ?? '',
    /cannot ask "Name\?": this front end takes no input \(allow_stdin is false\)/,
  );
  const late = await kernel.run(
    "const later = new Promise((resolve) => setTimeout(() => resolve(prompt('late').catch((e) => e.message)), 20));",
  );
  assert.equal(late.reply.status, 'ok');
  assert.match(String((await kernel.run('await later')).result), /only while its cell runs/);
});

test('declining to answer stops the cell; an interrupt takes the question back', async () => {
  const declined = await kernel.run("await prompt('?')", { onInput: () => Promise.resolve(undefined) });
  assert.equal(declined.reply.ename, 'Interrupted');
  const { reply } = await kernel.run("await prompt('?')", {
    onInput: async (_, signal) => {
      const taken = new Promise<undefined>((resolve) => {
        signal.addEventListener('abort', () => resolve(undefined));
      });
      await kernel.client.interrupt();
      return taken;
    },
  });
  assert.equal(reply.ename, 'Interrupted');
  const { result } = await kernel.run("await prompt('?')", { onInput: () => Promise.resolve('fresh') });
  assert.equal(result, "'fresh'");
});
