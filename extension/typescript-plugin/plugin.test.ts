import assert from 'node:assert/strict';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';

interface Reply {
  type: string;
  request_seq?: number;
  event?: string;
  body?: unknown;
}

/** TypeScript's server with the plugin, as VS Code starts it. */
class Server {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: { wanted: (reply: Reply) => boolean; resolve: (reply: Reply) => void }[] = [];
  #sequence = 0;

  constructor(probe: string) {
    const tsserver = join(
      import.meta.dirname,
      '..',
      '..',
      'node_modules',
      'typescript',
      'lib',
      'tsserver.js',
    );
    const plugin = ['--globalPlugins', 'gpt-lab-typescript-plugin', '--pluginProbeLocations', probe];
    this.#child = spawn(process.execPath, [
      tsserver,
      '--disableAutomaticTypingAcquisition',
      '--useInferredProjectPerProjectRoot',
      ...plugin,
    ]);
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      if (!line.startsWith('{')) return;
      const reply = JSON.parse(line) as Reply;
      const index = this.#waiting.findIndex(({ wanted }) => wanted(reply));
      if (index >= 0) this.#waiting.splice(index, 1)[0]?.resolve(reply);
    });
  }

  send(command: string, args: unknown): number {
    const seq = ++this.#sequence;
    this.#child.stdin.write(`${JSON.stringify({ seq, type: 'request', command, arguments: args })}\n`);
    return seq;
  }

  async ask(command: string, args: unknown): Promise<unknown> {
    const seq = this.send(command, args);
    const reply = await new Promise<Reply>((resolve) =>
      this.#waiting.push({ wanted: (each) => each.request_seq === seq, resolve }),
    );
    return reply.body;
  }

  async codes(file: string, kind: 'semantic' | 'syntactic'): Promise<number[]> {
    const body = (await this.ask(`${kind}DiagnosticsSync`, { file })) as { code: number }[];
    return body.map(({ code }) => code);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.kill();
    await closed;
  }
}

const CANNOT_FIND_MODULE = 2307;
const code = "import { train } from 'gpt-lab';\nconst run = await train({});\nrun.";

describe('the TypeScript plugin in the real server', () => {
  let server: Server;
  let folder: string;
  const cell = '^/vscode-notebook-cell/ts-nul-authority/work/quickstart.ipynb#W0sZmlsZQ==.ts';
  const otherCell = '^/vscode-notebook-cell/ts-nul-authority/work/deno.ipynb#W0sZmlsZQ==.ts';

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'gpt-lab-plugin-'));
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(import.meta.dirname, join(folder, 'node_modules', 'gpt-lab-typescript-plugin'), 'junction');
    server = new Server(folder);
    for (const file of [cell, otherCell]) {
      server.send('open', { file, fileContent: code, scriptKindName: 'TS', projectRootPath: '/work' });
    }
  });
  after(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  test('without a notebook of ours every cell is checked as VS Code does', async () => {
    assert.ok((await server.codes(cell, 'semantic')).includes(CANNOT_FIND_MODULE));
  });

  test('cells of our notebooks have no errors of meaning and no second completions, other notebooks do', async () => {
    await server.ask('configurePlugin', {
      pluginName: 'gpt-lab-typescript-plugin',
      configuration: { notebooks: ['/work/quickstart.ipynb'] },
    });
    assert.deepEqual(await server.codes(cell, 'semantic'), []);
    assert.ok((await server.codes(otherCell, 'semantic')).includes(CANNOT_FIND_MODULE));
    const hover = { line: 2, offset: 8 };
    assert.equal(await server.ask('quickinfo', { file: cell, ...hover }), undefined);
    assert.notEqual(await server.ask('quickinfo', { file: otherCell, ...hover }), undefined);
    const end = { line: 3, offset: 5 };
    assert.equal(await server.ask('completionInfo', { file: cell, ...end }), undefined);
  });

  test('syntax errors stay', async () => {
    assert.ok((await server.codes(cell, 'syntactic')).length > 0);
  });
});
