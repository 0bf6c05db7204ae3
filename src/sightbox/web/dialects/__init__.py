"""The languages of other servers, so that clients written for those work with this one."""
