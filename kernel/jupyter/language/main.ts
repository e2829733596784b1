/**
 * The language process: answers what front ends ask about code. A process of its own, since a question may take a second
 * while the supervisor has to answer at once, and since its memory is freed with it.
 */
import { complete } from './complete.ts';
import { diagnose } from './diagnose.ts';
import { inspect } from './inspect.ts';
import type { LanguageCommand, LanguageReport, QuestionName, Questions } from './messages.ts';
import { NotebookScope } from './notebook-scope.ts';
import { Project } from './project.ts';
import { signatureHelp } from './signatures.ts';

const notebook = new NotebookScope(new Project(process.cwd()));

const answers: { [Name in QuestionName]: (question: Questions[Name]['ask']) => Questions[Name]['answer'] } = {
  complete: (question) => complete(notebook.ask(question), question.imports),
  inspect: (question) => inspect(notebook.ask(question)),
  signatures: (question) => signatureHelp(notebook.ask(question)),
  diagnose: ({ cells }) => notebook.askAll(cells).map(diagnose),
};

function report(message: LanguageReport): void {
  // A kernel that has died asks no more, and what this process would say of it is not the kernel's last word.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

function obey(command: LanguageCommand): void {
  if (command.type === 'executed') for (const cell of command.cells) notebook.addExecuted(cell);
  else if (command.type === 'forget') notebook.forget();
  else answer(command);
}

function answer({ id, name, question }: Extract<LanguageCommand, { type: 'ask' }>): void {
  try {
    const found = (answers[name] as (asked: unknown) => unknown)(question);
    report({ type: 'answer', id, answer: found });
  } catch (error) {
    report({ type: 'failure', id, reason: error instanceof Error ? String(error.stack) : String(error) });
  }
}

process.on('disconnect', () => process.exit(0));
process.on('message', (command: LanguageCommand) => obey(command));
// Reads the libraries' declarations, so that the first question need not wait for them.
answers.complete({ code: '', cursor: 0, earlier: [], imports: false });
