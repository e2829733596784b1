/** The kernel of one notebook: started when first needed, its cells run one after the other. */
import { homedir } from 'node:os';
import { dirname } from 'node:path';
import * as vscode from 'vscode';
import type { InputQuestion } from '../../kernel/jupyter/client-messages.ts';
import type { JupyterMessage, KernelClient } from '../../kernel/jupyter/client.ts';
import type { CellExecutions } from './cell-executions.ts';
import type { CellOutput } from './cell-output.ts';
import { ExecutionOutputs } from './execution-outputs.ts';

/** A cell that runs on so long after an interrupt gets an offer to restart the kernel, ms. */
const INTERRUPT_PATIENCE = 5000;

/** What a kernel has to do with the rest of the extension. */
export interface KernelSurroundings {
  readonly executions: CellExecutions;
  readonly log: vscode.LogOutputChannel;
}

/** Runs the cells of a notebook in its kernel. */
export class NotebookKernel implements vscode.Disposable {
  #notebook: vscode.NotebookDocument;
  readonly #executions: CellExecutions;
  readonly #outputs: ExecutionOutputs;
  readonly #log: vscode.LogOutputChannel;
  #client: Promise<KernelClient> | undefined;
  #queue: vscode.NotebookCellExecution[] = [];
  #working: Promise<void> | undefined;
  /** Interrupts and restarts so far: what they were meant for is what was there before. */
  #interrupts = 0;
  #restarts = 0;
  #disposed = false;

  constructor(notebook: vscode.NotebookDocument, { executions, log }: KernelSurroundings) {
    this.#notebook = notebook;
    this.#executions = executions;
    this.#outputs = new ExecutionOutputs(() => this.#notebook, executions, log);
    this.#log = log;
  }

  /** Runs code cells in order, after those that are queued already; resolves when all have ended. */
  async run(cells: readonly vscode.NotebookCell[]): Promise<void> {
    await this.#executions.idle(cells);
    for (const cell of cells) {
      try {
        this.#queue.push(this.#executions.create(cell));
      } catch (error) {
        // Deleted meanwhile, for instance: the others run all the same.
        this.#log.warn(`A cell of ${this.#notebook.uri.fsPath} cannot be run: ${String(error)}`);
      }
    }
    this.#working ??= this.#work();
    await this.#working;
  }

  /** The notebook got a file: from now on the kernel is that document's. */
  moveTo(notebook: vscode.NotebookDocument): void {
    this.#cancelQueue();
    this.#outputs.clear();
    this.#notebook = notebook;
  }

  /** Stops the running cell, keeping the kernel's state, and forgets the queued ones. */
  async interrupt(): Promise<void> {
    this.#cancelQueue();
    this.#interrupts++;
    const working = this.#working;
    // A kernel that does not start says so in the cell that waits for it.
    const client = await this.#client?.catch(() => undefined);
    if (!client) return;
    setTimeout(() => {
      // A later cell is not the one that was to stop.
      if (working && this.#working === working && !this.#disposed) this.#offerRestart();
    }, INTERRUPT_PATIENCE);
    await client.interrupt();
  }

  /** A fresh kernel: variables are gone. Running and queued cells end; cells that are run from now on wait for it. */
  async restart(): Promise<void> {
    this.#cancelQueue();
    if (!this.#client) return;
    this.#restarts++;
    this.#outputs.clear();
    this.#client = this.#replace(this.#client);
    await this.#client;
    this.#log.info(`Kernel of ${this.#notebook.uri.fsPath} restarted`);
  }

  /**
   * The kernel's client, started if need be.
   * @throws Error when the folder is not trusted or the kernel cannot be started
   */
  client(): Promise<KernelClient> {
    if (!vscode.workspace.isTrusted)
      return Promise.reject(
        new Error(
          vscode.l10n.t('This folder is not trusted, so no kernel is started: trust the folder first.'),
        ),
      );
    this.#client ??= this.#start();
    return this.#client;
  }

  /** The client when the kernel has been started. */
  get running(): Promise<KernelClient> | undefined {
    return this.#client;
  }

  /** Ends the kernel; its process is gone when the promise resolves. Runs that it started go on in the daemon. */
  async shutdown(): Promise<void> {
    this.#disposed = true;
    this.#cancelQueue();
    const client = await this.#client?.catch(() => undefined);
    this.#client = undefined;
    await client?.shutdown();
  }

  dispose(): void {
    this.shutdown().catch((error: unknown) => this.#log.warn(`A kernel did not shut down: ${String(error)}`));
  }

  async #start(): Promise<KernelClient> {
    const started = Date.now();
    try {
      // Loaded here, not at activation: the client brings zeromq.
      const { startKernel } = await import('../../kernel/jupyter/client.ts');
      const client = await startKernel({
        cwd: folderOf(this.#notebook),
        env: {
          GPT_LAB_LIVE_PLOTS: 'renderer',
          // The name that Jupyter servers use for the notebook's path.
          ...(this.#notebook.isUntitled ? {} : { JPY_SESSION_NAME: this.#notebook.uri.fsPath }),
        },
      });
      this.#log.info(`Kernel of ${this.#notebook.uri.fsPath} started in ${Date.now() - started} ms`);
      client.onMessage((message) => this.#outputs.takeLate(message));
      void client.died.then(({ reason }) => this.#died(reason));
      return client;
    } catch (error) {
      this.#client = undefined;
      this.#log.error(`The kernel of ${this.#notebook.uri.fsPath} did not start: ${String(error)}`);
      throw error;
    }
  }

  /** Ends a kernel and starts another, in the folder where the notebook lies now. */
  async #replace(before: Promise<KernelClient>): Promise<KernelClient> {
    const client = await before.catch(() => undefined);
    await client?.shutdown();
    return await this.#start();
  }

  #died(reason: string): void {
    this.#client = undefined;
    this.#outputs.clear();
    this.#cancelQueue();
    if (this.#disposed) return;
    this.#log.error(`Kernel of ${this.#notebook.uri.fsPath} died: ${reason}`);
    const restart = vscode.l10n.t('Restart Kernel');
    void vscode.window
      .showErrorMessage(vscode.l10n.t('The kernel died: {0}', reason), restart)
      .then(async (chosen) => {
        if (chosen === restart) await this.client();
      })
      .then(undefined, (error: unknown) => void vscode.window.showErrorMessage(String(error)));
  }

  #offerRestart(): void {
    const restart = vscode.l10n.t('Restart Kernel');
    void vscode.window
      .showWarningMessage(
        vscode.l10n.t('The cell has not stopped yet. A restart loses all variables.'),
        restart,
      )
      .then((chosen) => (chosen === restart ? this.restart() : undefined))
      .then(undefined, (error: unknown) => void vscode.window.showErrorMessage(String(error)));
  }

  async #work(): Promise<void> {
    for (let execution = this.#queue.shift(); execution; execution = this.#queue.shift()) {
      // VS Code leaves it to us to forget a queued cell that was deleted.
      if (execution.cell.index < 0) {
        this.#executions.end(execution, undefined);
        continue;
      }
      const restarts = this.#restarts;
      const success = await this.#execute(execution);
      // What was queued after a restart was not queued behind this cell.
      if (!success && restarts === this.#restarts) this.#cancelQueue();
    }
    // In the same turn as the look at the empty queue: what is queued from now on needs a new worker.
    this.#working = undefined;
  }

  /** Runs one cell to its end; false when it failed. Never rejects: failures are outputs of the cell. */
  async #execute(execution: vscode.NotebookCellExecution): Promise<boolean> {
    const { cell } = execution;
    this.#executions.start(execution);
    const output = this.#outputs.begin(cell);
    const interrupts = this.#interrupts;
    let success = false;
    try {
      const client = await this.client();
      if (interrupts !== this.#interrupts)
        throw new Error(vscode.l10n.t('The cell was interrupted before the kernel had started.'));
      const reply = await client.execute(cell.document.getText(), {
        cellId: cell.document.uri.fragment,
        onMessage: (message) => this.#take(message, execution, output),
        onInput: askUser,
      });
      success = reply.status === 'ok';
    } catch (error) {
      output.fail(vscode.l10n.t('Kernel'), error instanceof Error ? error.message : String(error));
    }
    await output.settled();
    this.#executions.end(execution, success);
    return success;
  }

  #take(message: JupyterMessage, execution: vscode.NotebookCellExecution, output: CellOutput): void {
    const count = message.content['execution_count'];
    if (message.header.msg_type === 'execute_input' && typeof count === 'number')
      execution.executionOrder = count;
    this.#outputs.take(message, output);
  }

  #cancelQueue(): void {
    for (const execution of this.#queue.splice(0)) this.#executions.end(execution, undefined);
  }
}

/** Asks a cell's question in an input box, which closes when the cell ends. */
async function askUser(
  { prompt, password }: InputQuestion,
  signal: AbortSignal,
): Promise<string | undefined> {
  const source = new vscode.CancellationTokenSource();
  const cancel = (): void => source.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await vscode.window.showInputBox({ prompt, password, ignoreFocusOut: true }, source.token);
  } finally {
    signal.removeEventListener('abort', cancel);
    source.dispose();
  }
}

/** Where relative paths in cells start: the notebook's folder, or the workspace's for a notebook without a file. */
function folderOf(notebook: vscode.NotebookDocument): string {
  if (notebook.uri.scheme !== 'untitled') return dirname(notebook.uri.fsPath);
  return vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? homedir();
}
