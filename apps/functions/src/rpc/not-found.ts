import { BerthError } from '@berth/service-kit';

/** What is not there, and what is another workspace's: the same. */
export const noSuchApp = () =>
  new BerthError('not_found', 'No such app in this workspace: GET /v1/apps lists those there are.');

export const noSuchFunction = () =>
  new BerthError(
    'not_found',
    "No such function in this workspace: an app's functions are at /v1/apps/{app_id}/functions.",
  );

export const noSuchCall = () =>
  new BerthError('not_found', 'No such call in this workspace: check its id (fc-…).');

export const functionIsDeleted = () =>
  new BerthError('precondition', 'The function is deleted and takes no more: make one of the same name.');

export const functionIsBound = () =>
  new BerthError('precondition', 'The function is bound to parameters and follows another: change that one.');

export const appIsStopped = () =>
  new BerthError('precondition', 'The app is stopped and takes no more: make an app of the same name.');

export const noSuchImage = () =>
  new BerthError('not_found', 'No such image in this workspace: GET /v1/images lists those there are.');
