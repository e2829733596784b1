import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { complete } from './complete.ts';
import { diagnose } from './diagnose.ts';
import { inspect } from './inspect.ts';
import type { CellPosition, Diagnostic, Inspection } from './messages.ts';
import { NotebookScope } from './notebook-scope.ts';
import { Project } from './project.ts';
import { signatureHelp } from './signatures.ts';

describe('the language service', () => {
  let folder: string;
  let project: Project;
  let notebook: NotebookScope;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'gpt-lab-language-'));
    writeFileSync(join(folder, 'helper.ts'), 'export const helped = { deeply: 1 };\n');
    writeFileSync(join(folder, 'data.json'), '{ "version": "1" }');
    mkdirSync(join(folder, 'node_modules', 'beside'), { recursive: true });
    const manifest = {
      name: 'beside',
      type: 'module',
      exports: { types: './index.d.ts', import: './index.js' },
    };
    writeFileSync(join(folder, 'node_modules', 'beside', 'package.json'), JSON.stringify(manifest));
    writeFileSync(
      join(folder, 'node_modules', 'beside', 'index.d.ts'),
      'export declare function fromPackage(): void;',
    );
    project = new Project(folder);
    notebook = new NotebookScope(project);
  });
  after(() => rmSync(folder, { recursive: true }));

  /** A cell with the cursor at `|`. */
  function at(marked: string, earlier: readonly string[] = []): CellPosition {
    const cursor = marked.indexOf('|');
    return { code: marked.replace('|', ''), cursor, earlier };
  }
  function matches(marked: string, earlier?: readonly string[]): string[] {
    return complete(notebook.ask(at(marked, earlier)), false).matches.map(({ text }) => text);
  }
  function inspected(marked: string, earlier?: readonly string[]): Inspection | null {
    return inspect(notebook.ask(at(marked, earlier)));
  }
  function problems(...cells: string[]): Diagnostic[][] {
    return notebook.askAll(cells).map(diagnose);
  }

  test('completes members, from where the word begins', () => {
    const { start, matches: found } = complete(notebook.ask(at('"text".toUpp|')), false);
    assert.deepEqual([start, found], [7, [{ text: 'toUpperCase', type: 'method' }]]);
  });

  test('completes names that were declared by cells before, run or not', () => {
    notebook.addExecuted('const executed = 1;');
    assert.deepEqual(matches('execut|'), ['executed']);
    assert.deepEqual(matches('unexec|', ['const unexecuted = 1;']), ['unexecuted']);
    assert.deepEqual(matches('unexec|'), []);
    notebook.forget();
    assert.deepEqual(matches('execut|'), []);
  });

  test('knows the newest declaration of a name, with its type', () => {
    notebook.addExecuted('const again = { first: 1 };\nconst user = again;');
    notebook.addExecuted('function again() { return { second: 2 }; }');
    assert.deepEqual(matches('again().|'), ['second']);
    assert.deepEqual(matches('user.|'), ['first']);
    assert.deepEqual(matches('again.th|', ['const again = { third: 3 };']), ['third']);
    notebook.forget();
  });

  test('keeps types, classes and enums across cells', () => {
    const earlier = [
      'interface Point { x: number }\nenum Colour { Red }',
      'class Box<T extends Point> { constructor(readonly inside: T) {} }',
      'type Boxed = Box<Point>;',
    ];
    assert.deepEqual(matches('declare const b: Boxed; b.inside.|', earlier), ['x']);
    assert.deepEqual(matches('Colour.|', earlier), ['Red']);
  });

  test('completes the lab, Node, packages and files beside the notebook', () => {
    assert.deepEqual(matches("import { gpt| } from 'gpt-lab';"), ['gpt2', 'Gpt2Size']);
    assert.deepEqual(matches("import { train } from 'gpt-lab';\n(await train({})).finis|"), ['finished']);
    assert.deepEqual(matches("import { gpt2 } from 'gpt-lab';\ngpt2('na|')"), ['nano']);
    assert.deepEqual(matches("import { plan } from 'gpt-lab';\nplan({}).sche|"), ['schedule']);
    assert.deepEqual(matches("import { plan } from 'gpt-lab';\nplan({}, { machine: 'h1|' })"), ['h100']);
    assert.equal(matches("import { readFileS| } from 'node:fs';")[0], 'readFileSync');
    assert.deepEqual(matches("import { fromP| } from 'beside';"), ['fromPackage']);
    assert.deepEqual(matches("import { helped } from './helper.ts';\nhelped.|"), ['deeply']);
    assert.deepEqual(matches("import { helped } from './help|'"), ['helper']);
    assert.deepEqual(matches("import data from './data.json';\ndata.|"), ['version']);
    assert.deepEqual(matches('displ|'), ['display']);
  });

  test('offers what would have to be imported, with its module, where the client can add that', () => {
    notebook.addExecuted('export const trainees = 1;');
    const offered = (marked: string): unknown =>
      complete(notebook.ask(at(marked)), true).matches.map(({ text, module }) => [text, module]);
    assert.deepEqual(offered('trai|'), [
      ['trainees', undefined],
      ['train', 'gpt-lab'],
    ]);
    assert.deepEqual(offered('readFileSy|'), [['readFileSync', 'node:fs']]);
    assert.deepEqual(matches('trai|'), ['trainees']);
    notebook.forget();
  });

  test('sees files that were written while cells ran', () => {
    assert.deepEqual(matches("import { written } from './written';\nwritten.|"), []);
    writeFileSync(join(folder, 'written.ts'), 'export const written = { down: 1 };');
    notebook.addExecuted('');
    assert.deepEqual(matches("import { written } from './written';\nwritten.|"), ['down']);
  });

  test('inspects with type and documentation, also of a variable of another cell', () => {
    const earlier = ['/** The answer. */\nconst answer: number | string = 42;'];
    assert.deepEqual(inspected('ans|wer', earlier), {
      signature: 'const answer: string | number',
      documentation: 'The answer.',
    });
    const run = inspected("import { train } from 'gpt-lab';\ntrain|");
    assert.match(run?.signature ?? '', /^function train\(config: RunConfiguration\): Promise<Run>$/);
    assert.match(run?.documentation ?? '', /Starts a training run.*\*@example\*\n```ts\nconst run/s);
    assert.equal(inspected('   |   '), null);
  });

  test('within a call, inspection and signatures tell the function and its parameters', () => {
    const earlier = [
      '/** Adds.\n * @param b the second */\nfunction add(a: number, b: number) { return a + b; }',
    ];
    assert.equal(inspected('add(1, |', earlier)?.signature, 'add(a: number, b: number): number');
    const help = signatureHelp(notebook.ask(at('add(1, |', earlier)));
    assert.equal(help?.activeParameter, 1);
    assert.deepEqual(help.signatures, [
      {
        label: 'add(a: number, b: number): number',
        documentation: 'Adds.',
        parameters: [
          { label: 'a: number', documentation: '' },
          { label: 'b: number', documentation: 'the second' },
        ],
      },
    ]);
  });

  test('errors of meaning are told with their place in the cell', () => {
    const [first, second, third] = problems(
      'const n = 1;\nconst wrong: string = n;',
      'n.toUpperCase();',
      'n.toFixed();',
    );
    assert.deepEqual(
      first?.map(({ start, end, code }) => [start, end, code]),
      [[19, 24, 2322]],
    );
    assert.match(second?.[0]?.message ?? '', /'toUpperCase' does not exist on type/);
    assert.deepEqual(third, []);
  });

  test('what cells may do is no error', () => {
    const cells = [
      'let n = 1;\nfunction f() {}\nexport const e = 2;\nawait f();',
      "n = 2;\nf = () => {};\nimport fs = require('node:fs');\nfs.existsSync('a');\ne.toFixed();",
      "const n = 'text';\nfor (var i of [1]) ;\nn.length;",
      "i.toFixed();\nn.slice();\nfunction g(a) { return a; }\ntry {} catch (error) { error.message; }\nawait prompt('?');",
      "import { helped } from './helper';\nimport data from './data.json' with { type: 'json' };\ndata.version + helped.deeply;",
    ];
    assert.deepEqual(problems(...cells), [[], [], [], [], []]);
  });

  test('a cell that cannot be parsed has no errors of meaning', () => {
    assert.deepEqual(problems('const a: string = 1;\nconst b = '), [[]]);
  });
});
