/* A named tuple from the tuple of its fields, as tuple.__new__ makes it, without the call. */
#include <Python.h>

static PyObject *records_new(PyObject *kind, PyObject *fields) {
#if PY_VERSION_HEX < 0x030E0000 && !defined(PYPY_VERSION)
    Py_ssize_t size = PyTuple_GET_SIZE(fields);
    PyObject *made = ((PyTypeObject *)kind)->tp_alloc((PyTypeObject *)kind, size);
    if (made == NULL) return NULL;
    for (Py_ssize_t at = 0; at < size; at++) {
        PyObject *field = PyTuple_GET_ITEM(fields, at);
        Py_INCREF(field);
        PyTuple_SET_ITEM(made, at, field);
    }
    return made;
#else
    /* From 3.14 on a tuple keeps its hash, and only its own constructor knows how to begin that. */
    PyObject *made, *arguments = PyTuple_Pack(1, fields);
    if (arguments == NULL) return NULL;
    made = PyTuple_Type.tp_new((PyTypeObject *)kind, arguments, NULL);
    Py_DECREF(arguments);
    return made;
#endif
}
