/** `gpt-lab doctor`: whether everything that training needs is there, and what to do where it is not. */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { delimiter, join } from 'node:path';
import { NativeEngine } from '../engine/native/native-engine.ts';
import { distFile, homeDirectory, packageVersion } from '../home.ts';
import { formatDuration } from '../protocol/format.ts';
import { defineCommand, EXIT, print, printJson } from './command.ts';
import { findDaemon } from './daemon.ts';
import { jupyterDataDirectory, KERNEL_NAME } from './kernel-install.ts';

/** What was found of one thing. */
interface Finding {
  readonly check: string;
  /** `warn`: training works, something else may not. `fail`: training does not work. */
  readonly status: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** What to do. */
  readonly advice?: string;
}

type Check = () => Omit<Finding, 'check'> | Promise<Omit<Finding, 'check'>>;

const checks: Readonly<Record<string, Check>> = {
  node: checkNode,
  build: checkBuild,
  engine: checkEngine,
  cpu: checkCpu,
  memory: () => ({ status: 'ok', detail: `${gibibytes(totalmem())} in all` }),
  home: checkHome,
  disk: checkDisk,
  daemon: checkDaemon,
  kernelspec: checkKernelspec,
  editor: checkEditor,
};

export const doctor = defineCommand({
  name: 'doctor',
  summary: 'Check that everything training needs is there, with advice where it is not',
  notes: 'Exit status 1 when something fails that training needs.',
  options: {},
  async run({ values }) {
    let failed = false;
    for (const [check, look] of Object.entries(checks)) {
      const finding: Finding = { check, ...(await attempt(look)) };
      failed ||= finding.status === 'fail';
      if (values.json) printJson(finding);
      else tell(finding);
    }
    return failed ? EXIT.failed : EXIT.done;
  },
});

/** A check that throws has found something that fails. */
async function attempt(look: Check): Promise<Omit<Finding, 'check'>> {
  try {
    return await look();
  } catch (error) {
    return { status: 'fail', detail: error instanceof Error ? error.message : String(error) };
  }
}

const MARKS = { ok: ['32', '✓'], warn: ['33', '!'], fail: ['31', '✗'] } as const;

function tell({ check, status, detail, advice }: Finding): void {
  const [colour, mark] = MARKS[status];
  const coloured = process.stdout.isTTY && !process.env['NO_COLOR'];
  const sign = `${mark} ${status.padEnd(4)}`;
  print(`${coloured ? `\u001b[${colour}m${sign}\u001b[0m` : sign}  ${check.padEnd(10)}  ${detail}`);
  if (advice) print(`${' '.repeat(20)}→ ${advice}`);
}

function checkNode(): Omit<Finding, 'check'> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const detail = `${process.version} at ${process.execPath}, gpt-lab ${packageVersion()}`;
  if (major > 23 || (major === 22 && minor >= 15)) return { status: 'ok', detail };
  return { status: 'fail', detail, advice: 'Node 22.15, 24 or newer is needed: https://nodejs.org' };
}

function checkBuild(): Omit<Finding, 'check'> {
  const needed = ['daemon.js', 'rank.js', 'kernel.js', 'runner.js', 'lab.js'];
  const missing = needed.filter((file) => !existsSync(distFile('kernel', file)));
  if (missing.length === 0) return { status: 'ok', detail: distFile() };
  return {
    status: 'fail',
    detail: `${missing.join(', ')} missing in ${distFile('kernel')}`,
    advice: 'run `npm run build`',
  };
}

/** Does arithmetic on the engine: a library that loads may still stop at an instruction that this CPU lacks. */
async function checkEngine(): Promise<Omit<Finding, 'check'>> {
  let engine;
  try {
    engine = new NativeEngine();
  } catch (error) {
    return {
      status: 'fail',
      detail: error instanceof Error ? error.message : String(error),
      advice: 'run `npm run build`, which compiles the engine (it needs Rust: https://rustup.rs)',
    };
  }
  try {
    const sum = engine.allocate('f32', [2]);
    engine.write(sum, Float32Array.of(1, 2));
    engine.add(sum, sum, sum);
    const values = [...(await engine.read(sum))];
    const detail = `${engine.name} on ${engine.device}, ${engine.threads} threads, ${engine.instructions}`;
    if (values.join() === '2,4') return { status: 'ok', detail };
    return { status: 'fail', detail: `${detail}: [1, 2] + [1, 2] gave [${values.join(', ')}]` };
  } finally {
    await engine.dispose();
  }
}

function checkCpu(): Omit<Finding, 'check'> {
  const model = cpus()[0]?.model.trim() ?? 'unknown model';
  const threads = `${availableParallelism()} of ${cpus().length} threads usable`;
  const features = cpuFeatures();
  if (features === undefined) return { status: 'ok', detail: `${model}, ${process.arch}, ${threads}` };
  const detail = `${model}, ${threads}, ${features.length > 0 ? features.join(' ') : 'no AVX2'}`;
  if (features.includes('avx2')) return { status: 'ok', detail };
  return {
    status: 'warn',
    detail,
    advice: 'training works, but slowly: a CPU with AVX2 is several times faster',
  };
}

/** The vector extensions that the engine chooses among; undefined where the system does not tell. */
function cpuFeatures(): string[] | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' ') ?? [];
  return ['avx2', 'fma', 'avx512f', 'avx512_bf16'].filter((feature) => flags.includes(feature));
}

function checkHome(): Omit<Finding, 'check'> {
  const home = homeDirectory();
  mkdirSync(home, { recursive: true });
  accessSync(home, constants.R_OK | constants.W_OK | constants.X_OK);
  return { status: 'ok', detail: `${home}${process.env['GPT_LAB_HOME'] ? ' (GPT_LAB_HOME)' : ''}` };
}

/** A checkpoint of gpt2-small is 1.5 GB; below that even small runs soon stand still. */
const LITTLE_DISK = 2 ** 31;

function checkDisk(): Omit<Finding, 'check'> {
  const { bavail, bsize } = statfsSync(homeDirectory());
  const free = bavail * bsize;
  const detail = `${gibibytes(free)} free`;
  if (free >= LITTLE_DISK) return { status: 'ok', detail };
  return {
    status: 'warn',
    detail,
    advice: '`gpt-lab remove RUN` deletes a run with its checkpoints; GPT_LAB_HOME moves all',
  };
}

async function checkDaemon(): Promise<Omit<Finding, 'check'>> {
  const client = await findDaemon();
  if (!client) return { status: 'ok', detail: 'not running; it starts when it is needed' };
  try {
    const { pid, version, uptimeSeconds, running } = await client.request('daemon.status', {});
    const detail = `process ${pid}, version ${version}, for ${formatDuration(uptimeSeconds)}, ${running} running`;
    if (version === packageVersion()) return { status: 'ok', detail };
    return {
      status: 'warn',
      detail,
      advice: '`gpt-lab daemon stop` ends the other version; the next command starts this one',
    };
  } finally {
    client.close();
  }
}

function checkKernelspec(): Omit<Finding, 'check'> {
  const file = join(jupyterDataDirectory(), 'kernels', KERNEL_NAME, 'kernel.json');
  const advice = '`gpt-lab kernel install` makes the kernel known to JupyterLab (VS Code does not need it)';
  if (!existsSync(file)) return { status: 'ok', detail: 'not installed for Jupyter', advice };
  const { argv } = JSON.parse(readFileSync(file, 'utf8')) as { argv: string[] };
  const missing = argv.slice(0, 2).find((path) => !existsSync(path));
  if (missing === undefined) return { status: 'ok', detail: file };
  return { status: 'warn', detail: `${file} names ${missing}, which is gone`, advice };
}

function checkEditor(): Omit<Finding, 'check'> {
  const found = ['code', 'code-insiders', 'codium', 'code-server'].flatMap((name) => {
    const path = onPath(name);
    return path === undefined ? [] : [path];
  });
  if (found.length > 0) return { status: 'ok', detail: found.join(', ') };
  return {
    status: 'ok',
    detail: 'no VS Code on PATH',
    advice: '`npm start` opens the lab in the browser without one',
  };
}

function onPath(name: string): string | undefined {
  const endings = process.platform === 'win32' ? ['.cmd', '.exe'] : [''];
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((folder) => folder !== '')
    .flatMap((folder) => endings.map((ending) => join(folder, name + ending)))
    .find((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
}

function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
