/**
 * `npm test`: from a bare clone to every test run. Installs and builds what is missing, checks lint, types and
 * formatting, then runs the Rust and the TypeScript tests, and prints `N passed, N failed[, N skipped]` last.
 * Arguments are test files or folders to run alone: `npm test -- kernel/daemon`. With `--full` (`npm run test:full`) layouts,
 * faults and random shapes are tried many times more.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fail, node24, prepare, root, run, step } from './tools.mjs';

const totals = { passed: 0, failed: 0, skipped: 0 };

/** Runs one command, its output shown as it comes; resolves to its exit code and stdout. */
function show(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'], ...options });
    let output = '';
    child.stdout.on('data', (data) => {
      output += data;
      process.stdout.write(data);
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

/** A check counts as one test. */
async function check(title, command, args) {
  process.stdout.write(`\n# ${title}\n`);
  const { code } = await show(command, args);
  if (code === 0) totals.passed++;
  else totals.failed++;
}

const bin = (name) => join('node_modules', name);

/** Instruction sets of this machine beside the best, which the other tests use. */
function lesserInstructionSets() {
  const addon = createRequire(import.meta.url)(join(root, 'dist', 'native', 'gpt-lab.node'));
  return addon.instructionSets().slice(1);
}

const crate = join('kernel', 'engine', 'native');

async function runRustTests(instructions) {
  process.stdout.write(`\n# Rust${instructions ? ` with ${instructions}` : ''}\n`);
  const { code, output } = await show('cargo', ['test', '--release', '--locked'], {
    cwd: join(root, crate),
    env: environment(instructions),
  });
  let failed = 0;
  for (const [, passed, failures, ignored] of output.matchAll(/(\d+) passed; (\d+) failed; (\d+) ignored/g)) {
    totals.passed += Number(passed);
    failed += Number(failures);
    totals.skipped += Number(ignored);
  }
  totals.failed += code !== 0 && failed === 0 ? 1 : failed;
}

/** The environment of a test run; `instructions` forces the engine's instruction set. */
function environment(instructions) {
  return {
    ...process.env,
    FORCE_COLOR: '0',
    ...(process.argv.includes('--full') && { GPT_LAB_TESTS: 'full' }),
    ...(instructions && { GPT_LAB_INSTRUCTIONS: instructions }),
  };
}

async function runNodeTests(patterns, concurrency, instructions) {
  process.stdout.write(`\n# ${patterns.join(' ')}${instructions ? ` with ${instructions}` : ''}\n`);
  const reporters = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
  const args = [
    '--disable-warning=ExperimentalWarning',
    '--test',
    `--test-concurrency=${concurrency}`,
    ...reporters,
    ...patterns,
  ];
  const { code, output } = await show(node24, args, { env: environment(instructions) });
  const count = (name) => Number(new RegExp(`^\\S* ?${name} (\\d+)$`, 'm').exec(output)?.[1] ?? 0);
  totals.passed += count('pass');
  const failed = count('fail') + count('cancelled');
  totals.failed += code !== 0 && failed === 0 ? 1 : failed;
  totals.skipped += count('skipped') + count('todo');
}

/**
 * Tests in a browser use the system's Chromium. A machine for continuous integration gets it installed; on any other the
 * tests say what is missing and are skipped, since system packages are their owner's business.
 */
async function installChromium() {
  const wanted = process.env.CI && !process.env.CHROMIUM && process.getuid?.() === 0;
  if (!wanted || existsSync('/usr/bin/chromium') || !existsSync('/usr/bin/apt-get')) return;
  await step('Installing Chromium', () => {
    run('apt-get', ['update', '-qq'], { stdio: ['ignore', 'ignore', 'inherit'] });
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium', 'fonts-dejavu-core'], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  });
}

try {
  await prepare();
  await installChromium();
  const chosen = process.argv.slice(2).filter((argument) => argument !== '--full');
  if (chosen.length > 0) {
    await runNodeTests(
      chosen.map((path) => (path.endsWith('.ts') ? path : `${path.replace(/\/$/, '')}/**/*.test.ts`)),
      1,
    );
  } else {
    await check('Types', node24, [bin('typescript/bin/tsc'), '--noEmit']);
    await check('Lint', node24, [bin('eslint/bin/eslint.js'), '.']);
    await check('Formatting', node24, [bin('prettier/bin/prettier.cjs'), '--check', '--log-level=warn', '.']);
    await runRustTests();
    const manifest = join(crate, 'Cargo.toml');
    await check('Clippy', 'cargo', [
      ...['clippy', '--release', '--all-targets', '--locked', '--manifest-path', manifest],
      ...['--', '-D', 'warnings'],
    ]);
    for (const instructions of lesserInstructionSets()) {
      await runRustTests(instructions);
      await runNodeTests(['test/conformance/operations.test.ts'], 1, instructions);
    }
    await runNodeTests(
      [
        ...['extension', 'kernel', 'webview'].map((folder) => `${folder}/**/*.test.ts`),
        'test/!(workbench)/**/*.test.ts',
      ],
      2,
    );
    // A workbench, a browser and a training run are enough for one machine at a time.
    await runNodeTests(['test/workbench/**/*.test.ts'], 1);
  }
} catch (error) {
  fail(error);
}
const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : '';
process.stdout.write(`\n${totals.passed} passed, ${totals.failed} failed${skipped}\n`);
process.exit(totals.failed === 0 ? 0 : 1);
