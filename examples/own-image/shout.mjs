import { upperCase } from 'upper-case';

/** With a package of npm, which is in the image. */
export const shout = (text) => upperCase(text);
