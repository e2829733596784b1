import assert from 'node:assert/strict';
import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { useKernel } from './running-kernel.ts';

const kernel = useKernel();

async function resultOf(code: string): Promise<unknown> {
  const { reply, result } = await kernel.run(code);
  assert.equal(reply.status, 'ok', reply.traceback?.join('\n'));
  return result;
}

async function writePackage(name: string, manifest: object, code: string): Promise<void> {
  const folder = join(kernel.folder, 'node_modules', name);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name, version: '1.0.0', ...manifest }));
  await writeFile(join(folder, 'index.js'), code);
}

test('the last expression is the result, with the count of the cell', async () => {
  const first = await kernel.run('const one: number = 1;\none + 1');
  assert.equal(first.result, '2');
  const second = await kernel.run('one');
  assert.equal(second.reply.execution_count, first.reply.execution_count + 1);
});

test('every kind of declaration can be made again by every other kind, types come and go', async () => {
  const declarations = [
    'var again = 1;',
    'let again = 1;',
    'const again = 1;',
    'function again() { return 1; }',
    'class again {}',
    'enum again { A }',
    'namespace again { export const a = 1; }',
    'export const again = 1;',
  ];
  for (const first of declarations) {
    for (const second of declarations) {
      for (const code of [first, 'type again = number;', 'interface again {}', second]) {
        const { reply } = await kernel.run(code);
        assert.equal(reply.status, 'ok', `${first} then ${second}: ${reply.evalue}`);
      }
    }
  }
});

test('await stands at the top level, functions are hoisted, types are erased', async () => {
  await kernel.run(
    'type N = number;\nconst v: N = await later(20);\nasync function later(n: N) { return n * 2; }',
  );
  assert.equal(await resultOf('v + 1'), '41');
});

test('decorators, enums and parameter properties work', async () => {
  const code = [
    'function doubled(get: (this: A) => number, _: ClassGetterDecoratorContext) {',
    '  return function (this: A) { return 2 * get.call(this); };',
    '}',
    'enum Size { Small = 3 }',
    'class A { constructor(readonly size: Size) {} @doubled get area() { return this.size; } }',
    'new A(Size.Small).area',
  ];
  assert.equal(await resultOf(code.join('\n')), '6');
});

test('built-in modules, packages for ES modules alone, and CommonJS packages are imported', async () => {
  await writePackage(
    'esm-only',
    { type: 'module', exports: { import: './index.js' } },
    'export const esm = 1;',
  );
  await writePackage('commonjs', {}, 'exports.commonjs = 2;');
  await kernel.run(
    "import { esm } from 'esm-only';\nimport { commonjs } from 'commonjs';\nimport fs from 'node:fs';",
  );
  assert.equal(await resultOf('[esm, commonjs, typeof fs.readFileSync].join()'), "'1,2,function'");
  assert.equal(await resultOf("import type { Esm } from 'nowhere';\nrequire('commonjs').commonjs"), '2');
  assert.equal(await resultOf("(await import('esm-only')).esm"), '1');
});

test('the lab is imported, and runs need no daemon for what is only configuration', async () => {
  assert.equal(await resultOf("import { gpt2 } from 'gpt-lab';\ngpt2('nano').preset"), "'gpt2-nano'");
});

test('TypeScript and JSON beside the notebook are imported, TypeScript with all that it can', async () => {
  await kernel.write('types.ts', 'export interface Named { name: string }');
  await kernel.write(
    'helper.ts',
    "import type { Named } from './types';\nenum Kind { A = 7 }\nexport function kind(of: Named) { return of.name + Kind.A; }",
  );
  await kernel.write('data.json', '{ "version": "1.2", "not-a-name": 3 }');
  assert.equal(await resultOf("import { kind } from './helper.ts';\nkind({ name: 'k' })"), "'k7'");
  assert.equal(await resultOf("import { kind as again } from './helper';\nagain === kind"), 'true');
  assert.equal(
    await resultOf("import data, { version } from './data.json';\nversion + data['not-a-name']"),
    "'1.23'",
  );
  assert.equal(await resultOf("import d from './data.json' with { type: 'json' };\nd.version"), "'1.2'");
  assert.equal(
    await resultOf("require('./data.json').version + require('./helper').kind({ name: '' })"),
    "'1.27'",
  );
  assert.equal(await resultOf('import.meta.dirname === process.cwd()'), 'true');
});

test('a file that has changed is imported anew, also behind another one', async () => {
  await kernel.write('outer.ts', "export { value } from './inner';");
  await kernel.write('inner.ts', 'export const value = 1;');
  assert.equal(await resultOf("import { value } from './outer';\nvalue"), '1');
  await kernel.write('inner.ts', 'export const value = 2;');
  // Another time of change, whatever the file system's clock resolves.
  await utimes(join(kernel.folder, 'inner.ts'), new Date(), new Date(Date.now() + 5000));
  assert.equal(await resultOf("import { value } from './outer';\nvalue"), '2');
});

test('a module that is not there is told by its name', async () => {
  const { reply } = await kernel.run("import { a } from './nowhere.ts';");
  assert.match(reply.evalue ?? '', /Cannot find module '.*nowhere\.ts'/);
  assert.match(
    (await kernel.run("import 'no-such-package'")).reply.evalue ?? '',
    /Cannot find package 'no-such-package'/,
  );
});

test('an error names cell, line and column, and quotes the line', async () => {
  const { reply, messages } = await kernel.run(
    'const fine = 1;\n\nfunction broken() {\n  throw new RangeError(`no ${fine}`);\n}\nbroken();',
  );
  assert.equal(reply.status, 'error');
  assert.deepEqual([reply.ename, reply.evalue], ['RangeError', 'no 1']);
  const text = reply.traceback?.join('\n') ?? '';
  assert.match(text, /^Cell In\[\d+\], line 4\n.*\n.*\n----> 4 {3}throw new RangeError\(.*\n {16}\^\n/);
  assert.match(
    text,
    /RangeError: no 1\n {4}at broken, Cell In\[\d+\], line 4\n {4}at Cell In\[\d+\], line 6$/,
  );
  assert.equal(messages.filter(({ header }) => header.msg_type === 'error').length, 1);
});

test('an error in a cell that ran before names that cell; one in a module names its file and line', async () => {
  const { reply: first } = await kernel.run(
    'interface A {\n  a: 1;\n}\nfunction fails() { throw new Error("f"); }',
  );
  const { reply } = await kernel.run('fails()');
  assert.match(
    reply.traceback?.join('\n') ?? '',
    new RegExp(`^Cell In\\[${first.execution_count}\\], line 4\n`),
  );
  await kernel.write(
    'faulty.ts',
    'interface A {\n  a: 1;\n}\nexport function faulty(): never {\n  throw new Error("g");\n}',
  );
  const { reply: module } = await kernel.run("import { faulty } from './faulty';\nfaulty();");
  const text = module.traceback?.join('\n') ?? '';
  assert.match(text, /^File .*faulty\.ts:5\n/);
  assert.match(text, /at faulty, File .*faulty\.ts:5\n {4}at Cell In\[\d+\], line 2$/);
});

test('classes of errors, causes and sums of errors are told; so is anything else that is thrown', async () => {
  const { reply } = await kernel.run(
    "class Mine extends Error {}\nthrow new Mine('outer', { cause: new TypeError('inner') })",
  );
  assert.equal(reply.ename, 'Mine');
  assert.match(reply.traceback?.join('\n') ?? '', /Mine: outer\n.*\n\nCaused by TypeError: inner/);
  const { reply: sum } = await kernel.run("await Promise.any([Promise.reject(new Error('one'))])");
  assert.match(sum.traceback?.join('\n') ?? '', /AggregateError: .*\n {2}- Error: one/);
  assert.equal((await kernel.run("throw 'text'")).reply.evalue, "'text'");
  assert.equal((await kernel.run('throw undefined')).reply.evalue, 'undefined');
});

test('a mistake in the syntax is told with its place before anything runs', async () => {
  const { reply } = await kernel.run('globalThis.ran = true;\nconst = 3;');
  assert.equal(reply.ename, 'SyntaxError');
  assert.match(reply.traceback?.[0] ?? '', /^Cell In\[\d+\], line 2\n.*\n----> 2 const = 3;\n {14}\^$/);
  assert.equal(await resultOf('(globalThis as any).ran'), undefined);
  const { reply: engine } = await kernel.run('1;\nreturn 5;');
  assert.match(engine.traceback?.[0] ?? '', /line 2\n.*\n----> 2 return 5;/);
});

test('rich values choose how they are shown, others are text', async () => {
  const { messages } = await kernel.run(
    "({ [Symbol.for('Jupyter.display')]: () => ({ 'text/html': '<b>bold</b>' }) })",
  );
  const shown = messages.find(({ header }) => header.msg_type === 'execute_result')?.content['data'];
  assert.equal((shown as Record<string, unknown>)['text/html'], '<b>bold</b>');
  assert.equal(await resultOf('[NaN, -0, 10n, Symbol("s"), null]'), '[ NaN, -0, 10n, Symbol(s), null ]');
  assert.deepEqual(
    [await resultOf('-0'), await resultOf('10n'), await resultOf('null')],
    ['-0', '10n', 'null'],
  );
});

test('timers are as Node has them', async () => {
  const code = [
    "import { promisify } from 'node:util';",
    'const order: string[] = [];',
    "setTimeout((a: string) => order.push(a), 0, 'first');",
    "const stopped = setInterval(() => { order.push('again'); clearInterval(stopped); }, 1);",
    'await promisify(setTimeout)(50);',
    'order.join()',
  ];
  assert.equal(await resultOf(code.join('\n')), "'first,again'");
  assert.match(
    (await kernel.run('setTimeout(1 as any)')).reply.evalue ?? '',
    /callback.*must be of type function/,
  );
});

test('what cells leave waiting does not hold up the next one', async () => {
  await kernel.run('const never = new Promise(() => {}); setInterval(() => {}, 1000);');
  assert.equal(await resultOf('1 + 1'), '2');
});
