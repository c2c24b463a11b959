/** The small program that supervises: it loads nothing but Node, and stays for as long as the platform runs. */
import { builtParts } from './parts';
import { runProgram } from './program';

void runProgram({ file: __filename, partsFor: builtParts }, process.argv.slice(2));
