import assert from 'node:assert/strict';
import { Session, type Runtime } from 'node:inspector/promises';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { after, before, test } from 'node:test';
import { CellSyntaxError, transformCell } from './transform.ts';

const session = new Session();
const place = globalThis as Record<string, unknown>;

before(() => {
  session.connect();
  place['__import'] = (specifier: string) => Promise.resolve({ default: specifier, name: 'imported' });
});
after(() => session.disconnect());

/** Runs cells one after the other as the kernel does; resolves to the last one's value, or throws its error. */
async function run(...cells: string[]): Promise<unknown> {
  let value: unknown;
  for (const cell of cells) {
    const parameters = { expression: transformCell(cell).code, replMode: true, awaitPromise: true };
    const reply = await session.post('Runtime.evaluate', {
      ...parameters,
      returnByValue: true,
    } as Runtime.EvaluateParameterType);
    if (reply.exceptionDetails) throw new Error(reply.exceptionDetails.exception?.description ?? cell);
    value = reply.result.value;
  }
  return value;
}

test('a cell has a value when it ends with an expression', async () => {
  assert.equal(await run('const a = 20;\na + 1;;'), 21);
  assert.equal(await run('export default 4'), 4);
  const without = ['5; let x = 1', 'var x = 5', 'enum x { A }', 'for (const i of [1]) i', '1; type T = 2'];
  for (const cell of without) assert.equal(await run(cell), undefined, cell);
});

test('every declaration can be made again by every other', async () => {
  const declarations = [
    'var again = 1',
    'var { again } = { again: 1 }',
    'for (var again = 0; again < 1; again++);',
    'for (var [again] of [[1]]);',
    'if (true) { var again = 1 }',
    'let again = 1',
    'const again = 1',
    'function again() {}',
    'async function* again() {}',
    'class again {}',
    'enum again { A }',
    'namespace again { export const a = 1 }',
    "import again from 'again'",
    "import * as again from 'again'",
    "import again = require('node:path')",
    'export const again = 1',
    'export default class again {}',
  ];
  place['require'] = () => ({});
  for (const first of declarations)
    for (const second of declarations)
      await run(first, second).catch((error: unknown) => {
        throw new Error(`${first} then ${second}`, { cause: error });
      });
});

test('a variable keeps its scope and its order', async () => {
  assert.equal(await run('for (var i = 0; i < 3; i++) { var last = i }', '[i, last].join()'), '3,2');
  assert.equal(await run('var [a, , { b = 7, ...c }] = [1, 2, { d: 4 }]; [a, b, c.d].join()'), '1,7,4');
  assert.equal(await run('early; var early = 1; early'), 1);
  assert.equal(await run('function f() { var inner = 5; return inner } f() + typeof inner'), '5undefined');
});

test('functions are hoisted, keep their name and see later definitions', async () => {
  assert.equal(await run('const five = twice(2) + 1;\nfunction twice(n: number) { return 2 * n; }\nfive'), 5);
  assert.equal(await run('twice.name'), 'twice');
  const cells = [
    'function down(n: number): number { return n === 0 ? 0 : down(n - 1); }',
    'const before = down;',
  ];
  assert.equal(await run(...cells, 'function down(n: number) { return 42 + n; }', 'before(1)'), 42);
});

test('types go, what TypeScript adds at run time stays', async () => {
  assert.equal(await run('enum Colour { Red = 3 }\nColour[Colour.Red]'), 'Red');
  assert.equal(await run('class P { constructor(readonly x: number) {} }\nnew P(4).x'), 4);
  const decorated = [
    'function twice(value: (this: D) => number, context: ClassMethodDecoratorContext) { return function (this: D) { return 2 * value.call(this); }; }',
    'class D { @twice m() { return 3; } }\nnew D().m()',
  ];
  assert.equal(await run(...decorated), 6);
  assert.equal(
    await run('interface I { a: number }\ndeclare const nowhere: I;\ntypeof nowhere'),
    'undefined',
  );
});

test('imports wait for their module, those of types alone vanish', async () => {
  assert.equal(await run("import specifier, { name as n, type T } from 'a';\nspecifier + n"), 'aimported');
  assert.equal(await run("import type { T } from 'nowhere';\n1"), 1);
  assert.equal(await run("import j from './a.json' with { type: 'json' };\nj"), './a.json');
  assert.equal(await run("const { name } = await import('b');\nname"), 'imported');
  assert.equal(await run("import path = require('node:path');\ntypeof path"), 'object');
});

test('code is strict, as in a module', async () => {
  await assert.rejects(run('undeclared = 1'), /undeclared is not defined/);
  await assert.rejects(run('await null; undeclared = 1'), /undeclared is not defined/);
});

test('a mistake is told with its line and column', () => {
  assert.throws(
    () => transformCell('let a = 1;\nconst = 3;'),
    (error) => error instanceof CellSyntaxError && error.line === 2 && error.column === 7,
  );
});

test('the source map leads to the lines of the cell', () => {
  const source = 'interface A {\n  b: number;\n}\nfunction f(): never {\n  throw new Error();\n}\nf();';
  const { code, map = '' } = transformCell(source);
  const lines = code.split('\n');
  const line = lines.findIndex((each) => each.includes('throw'));
  const column = lines[line]?.indexOf('new Error') ?? 0;
  const entry = new SourceMap(JSON.parse(map) as SourceMapPayload).findEntry(line, column);
  assert.deepEqual('originalLine' in entry && [entry.originalLine, entry.originalColumn], [
    4,
    source.split('\n')[4]?.indexOf('new Error'),
  ]);
});

test('what is JavaScript as it stands is left as it stands, anything else is compiled', () => {
  const plain = [
    '1 + 1',
    'let a = b ? { c, ...d } : [e?.f, `g${h}`];',
    "for (const x of await y()) if (x instanceof Z || 'k' in x) console.log(x ?? !x);",
    'try { (async (a = 1, { b }, ...c) => { const d = 5; return d ** 2; })(); } catch { throw e; }',
    '({ a: 1 }).a // a comment',
  ];
  for (const source of plain) assert.equal(transformCell(source).map, undefined, source);
  const compiled = [
    'const a = 1',
    'var a',
    'for (var i = 0; ;) ;',
    'let a: number',
    'a as b',
    'a!',
    'f<T>(x)',
    '(a?) => a',
    '(a: number) => a',
    'function f() {}',
    'class A {}',
    "import 'a'",
    "await import('a')",
    'import.meta.url',
    'export default 1',
    'type A = 1',
    'enum A {}',
    '@a class B {}',
    'using a = b',
    '(function (this: A) {})',
    'try {} catch (e: any) {}',
  ];
  for (const source of compiled) assert.notEqual(transformCell(source).map, undefined, source);
});
