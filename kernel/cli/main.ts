/** The `gpt-lab` command. */
import { inspect } from 'node:util';
import { DaemonError } from '../daemon/daemon-error.ts';
import { packageVersion } from '../home.ts';
import { disconnect } from '../lab/connection.ts';
import { LabError } from '../lab/errors.ts';
import { NoSuchRun } from '../lab/find-run.ts';
import { UsageError } from './arguments.ts';
import {
  benchEngine,
  benchEngineGenerate,
  benchCollectiveRank,
  benchEngineStep,
  benchMachine,
  benchNotebook,
  benchParallel,
} from './bench.ts';
import { EXIT, note, print } from './command.ts';
import type { Command } from './command.ts';
import { daemonStart, daemonStatus, daemonStop } from './daemon.ts';
import { doctor } from './doctor.ts';
import { exportRun } from './export.ts';
import { kernelInstall } from './kernel-install.ts';
import { notebookRun } from './notebook-run.ts';
import { plan } from './plan.ts';
import { logs, remove, runs, show, stop } from './runs.ts';
import { evaluate, generate } from './sample.ts';
import { train } from './train.ts';

const commands: readonly Command[] = [
  train,
  plan,
  runs,
  show,
  logs,
  stop,
  remove,
  generate,
  evaluate,
  exportRun,
  daemonStart,
  daemonStatus,
  daemonStop,
  kernelInstall,
  notebookRun,
  benchMachine,
  benchEngine,
  benchCollectiveRank,
  benchEngineStep,
  benchEngineGenerate,
  benchNotebook,
  benchParallel,
  doctor,
];

function overview(): string {
  const shown = commands.filter(({ hidden }) => !hidden);
  const width = Math.max(...shown.map(({ name }) => name.length));
  return [
    'Train GPTs from the terminal; the notebooks of GPT Lab show the same runs.\n',
    'Usage: gpt-lab COMMAND [options]\n',
    'Commands:',
    ...shown.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    '',
    'RUN is a run id, the beginning of one, or `last`. `gpt-lab COMMAND --help` tells more.',
    'Exit status: 0 done, 1 failed, 2 invalid usage or configuration, 130 stopped.',
    'GPT_LAB_HOME moves the folder that holds all runs.',
  ].join('\n');
}

/** The command that `argv` begins with and what follows its name. */
function choose(argv: readonly string[]): { command: Command; rest: readonly string[] } {
  const fits = ({ name }: Command): boolean => name.split(' ').every((word, index) => argv[index] === word);
  const command = commands.find(fits);
  if (command) return { command, rest: argv.slice(command.name.split(' ').length) };
  const [first = ''] = argv;
  const group = commands.filter(({ name }) => name.startsWith(`${first} `)).map(({ name }) => name);
  const known = (
    group.length > 0 ? group : commands.filter(({ hidden }) => !hidden).map(({ name }) => name)
  ).join(', ');
  throw new UsageError([`"${argv.slice(0, group.length > 0 ? 2 : 1).join(' ')}" is no command: ${known}`]);
}

async function main(argv: readonly string[]): Promise<number> {
  if (argv[0] === '--version') {
    print(packageVersion());
    return EXIT.done;
  }
  if (argv.length === 0 || argv[0] === '--help' || argv[0] === 'help') {
    (argv.length === 0 ? note : print)(overview());
    return argv.length === 0 ? EXIT.usage : EXIT.done;
  }
  const { command, rest } = choose(argv);
  return command.execute(rest);
}

/** Says what went wrong and gives the exit status that fits. */
function report(error: unknown): number {
  if (error instanceof UsageError) {
    for (const problem of error.problems) note(problem);
    note('`gpt-lab --help` lists the commands, `gpt-lab COMMAND --help` the options of one.');
    return EXIT.usage;
  }
  if (error instanceof LabError || error instanceof DaemonError) {
    note(error.message);
    return error.code === 'invalid-configuration' || error.code === 'invalid-parameters'
      ? EXIT.usage
      : EXIT.failed;
  }
  const known = error instanceof NoSuchRun || (error instanceof Error && 'code' in error);
  note(known ? error.message : inspect(error));
  return EXIT.failed;
}

// `gpt-lab logs last | head` ends the pipe early: nothing is wrong with that.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT.done);
});

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = report(error);
} finally {
  await disconnect();
}
